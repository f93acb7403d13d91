"""The command about studies: remanence study."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown

from remanence.cli.console import out, say
from remanence.cli.names import complete_study
from remanence.cli.options import Jobs, Output, Overwrite, Set
from remanence.cli.progress import show_bar, show_progress
from remanence.studies import load_study


def study(
    name: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="The study: the name of a folder in studies/.", autocompletion=complete_study
        ),
    ],
    settings: Set = [],  # noqa: B006 (Typer wants a list)
    output: Output = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> None:
    """Train all runs of a study and write the page with its answer. Repeating the command resumes it."""
    chosen = load_study(name)
    from remanence import training  # slow to load

    folder = output or Path("runs") / f"study-{name}"
    plans = chosen.plan(folder, settings)
    runs = {path: config for part in plans.values() for path, config in part.items()}
    with show_progress(len(runs)) as tell:
        training.compare(
            runs,
            jobs=jobs or training.count_jobs(config.training for config in runs.values()),
            overwrite=overwrite,
            tell=tell,
        )
    with show_bar("looking into the networks") as tell_measured:
        page = chosen.answer(plans, folder, tell_measured)
    text = page.read_text(encoding="utf-8")
    if out.is_terminal:
        out.print(Markdown(text))
    else:
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    say(f"The page is {page}")
