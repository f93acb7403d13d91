"""The command that trains several memories: remanence compare."""

from pathlib import Path
from typing import Annotated

import typer

from remanence.cli.console import format_command, say
from remanence.cli.names import check_names, complete_task
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
from remanence.cli.report import print_results
from remanence.errors import UserError
from remanence.recipes import find_recipe


def compare(
    what: Annotated[
        str, typer.Argument(metavar="TASK|RECIPE.yaml", help="A task, or a recipe.", autocompletion=complete_task)
    ],
    layers: Annotated[
        str | None,
        typer.Option(help="Comma-separated layers (default: those of the recipe).", metavar="A,B,C"),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds (default: 3, or as in the recipe).")] = None,
    hidden_sizes: Annotated[
        str | None,
        typer.Option(help="Comma-separated hidden sizes (default: 50, or as in the recipe).", metavar="20,50"),
    ] = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    settings: Set = [],  # noqa: B006 (Typer wants a list)
    output: Output = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    allow_import: AllowImport = False,
    as_json: Json = False,
) -> None:
    """Train several memories on the same task with several seeds; print a table and write a page.

    Repeating the command continues where it stopped.
    """
    file = find_recipe(Path(what)) if Path(what).suffix in (".yaml", ".yml") else None
    check_names(tasks=[] if file else [what], layers=split_names(layers))
    if file is None and layers is None:
        raise UserError(f"compare {what} needs --layers, such as --layers fast_weights,lstm")
    from remanence import report, training

    choices = {"seeds": seeds, "layers": format_list(layers), "hidden_sizes": format_list(hidden_sizes)}
    overrides = [f"{field}={value}" for field, value in choices.items() if value is not None]
    overrides += [*expand_short_options(epochs, learning_rate), *settings]
    if file is not None:
        recipe = training.read_recipe(file, overrides, allow_import=allow_import)
        if recipe.search is not None:
            raise UserError(f"{what} has a search: use remanence sweep {what}, or --set search=null to skip it")
    else:
        fields = {"title": f"Memories on {what}", "comparisons": [{"task": {"name": what}, "layers": []}]}
        recipe = training.build_recipe(fields, overrides)
    folder = output or Path("runs") / Path(what).stem
    runs = training.plan(recipe.runs(), folder)
    with show_progress(len(runs)) as tell:
        training.compare(
            runs,
            jobs=jobs or training.count_jobs(config.training for config in runs.values()),
            overwrite=overwrite,
            tell=tell,
        )
    results = report.load(list(runs))
    page = report.write(results, folder, title=recipe.title, command=format_command())
    print_results(results, as_json=as_json)
    say(f"The page is {page}")


def split_names(names: str | None) -> list[str]:
    """Split ``a,b`` at commas, ignoring empty parts."""
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def format_list(names: str | None) -> str | None:
    """Convert ``a,b`` to a YAML list."""
    return None if names is None else f"[{', '.join(split_names(names))}]"
