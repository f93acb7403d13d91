"""The command about studies: remanence study."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown

from remanence.cli.console import out, say
from remanence.cli.progress import bar, bars
from remanence.errors import UserError

STUDIES = ("holding",)


def study(
    name: Annotated[str, typer.Argument(metavar="STUDY", help=f"Which: {', '.join(STUDIES)}.")],
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of every recipe, such as seeds=1; several times."),
    ] = [],  # noqa: B006 (Typer wants a list)
    output: Annotated[
        Path | None, typer.Option(help="Folder of the runs and the page (default: runs/study-STUDY).")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time (default: one for each core).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start all runs anew.")] = False,
) -> None:
    """Train all that a question needs, and write a page that answers it; given again, go on where it stopped."""
    if name not in STUDIES:
        raise UserError(f"there is no study {name!r}; there is {', '.join(STUDIES)}")
    from remanence import training  # slow to load
    from remanence.study import holding

    folder = output or Path("runs") / f"study-{name}"
    plans = holding.plan(folder, settings)
    runs = {path: config for part in plans.values() for path, config in part.items()}
    with bars(len(runs)) as tell:
        training.compare(runs, jobs=jobs or os.cpu_count() or 1, overwrite=overwrite, tell=tell)
    with bar("looking into the networks") as tell_measured:
        page = holding.answer(plans, folder, tell_measured)
    text = page.read_text(encoding="utf-8")
    if out.is_terminal:
        out.print(Markdown(text))
    else:
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    say(f"The page is {page}")
