"""The command that searches: remanence sweep."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from remanence.cli.console import format_command, out, print_json, say
from remanence.cli.options import (
    AllowImport,
    Epochs,
    Jobs,
    Json,
    LearningRate,
    Output,
    Overwrite,
    Set,
    expand_short_options,
)
from remanence.cli.progress import show_progress
from remanence.recipes import find_recipe

if TYPE_CHECKING:
    from remanence.training import Candidate


def sweep(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="A recipe with a search.")],
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    settings: Set = [],  # noqa: B006 (Typer wants a list)
    output: Output = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    allow_import: AllowImport = False,
    as_json: Json = False,
) -> None:
    """Search settings for every memory, then train the best of each with all seeds; print tables, write a page.

    Repeating the command continues where it stopped.
    """
    file = find_recipe(recipe)
    from remanence import report, training  # slow to load

    overrides = [*expand_short_options(epochs, learning_rate), *settings]
    read = training.read_recipe(file, overrides, allow_import=allow_import)
    folder = output or Path("runs") / recipe.stem
    jobs = jobs or training.count_jobs(comparison.training for comparison in read.comparisons)
    with show_progress(training.count_runs(read)) as tell:
        found = training.sweep(read, folder, jobs=jobs, overwrite=overwrite, tell=tell)
    results = report.load(list(found.runs))
    again = format_command()
    page = report.write(results, folder, title=read.title, command=again)
    folders = dict.fromkeys(trial.folder for candidate in found.candidates for trial in candidate.trials)
    # Judged by what the choice was made by; the test data are for the winners alone.
    title = f"{read.title}: the search"
    tried_page = report.write(report.load(folders), folder / "search", title=title, split="validation", command=again)
    rows = report.summarise(results)
    if as_json:
        tried = [trial for candidate in found.candidates for trial in list_trials(candidate)]
        print_json({"trials": tried, "results": report.as_json(rows)})
    else:
        out.print(*map(format_trials, found.candidates), report.table(rows), sep="\n")
    say(f"The page is {page}, that of the search {tried_page}")


def list_trials(candidate: "Candidate") -> list[dict[str, object]]:
    """Convert the trials of a layer to plain objects for JSON."""
    return [
        {
            "task": trial.config.task.name,
            "layer": trial.config.layer.name,
            "hidden_size": trial.config.layer.hidden_size,
            "settings": trial.settings,
            "validation_metric": trial.metric,
            "best": trial is candidate.best,
            "folder": str(trial.folder),
        }
        for trial in candidate.trials
    ]


def format_trials(candidate: "Candidate") -> Group:
    """Format the trials of a layer as a table."""
    from remanence.report.tables import format_value

    first, best = candidate.trials[0], candidate.best
    title = f"[bold]{first.config.layer.name} on {first.config.task.name}: {first.result.metric} on validation data[/]"
    shown = Table(*first.settings, first.result.metric, box=None, padding=(0, 2, 0, 0))
    for trial in candidate.trials:
        metric = "failed" if trial.metric is None else f"{trial.metric:.4g}"
        style = "bold" if trial is best else ""
        shown.add_row(*(escape(format_value(value)) for value in trial.settings.values()), metric, style=style)
    return Group(title, shown, "")
