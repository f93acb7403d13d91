"""The command that trains one memory: remanence train."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from remanence.cli.console import say
from remanence.cli.names import check_names, complete_layer, complete_task
from remanence.cli.options import Epochs, Json, LearningRate, Overwrite, Set, expand_short_options
from remanence.cli.progress import show_progress
from remanence.cli.report import print_results


def train(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="The task; see remanence list.", autocompletion=complete_task)
    ],
    layer: Annotated[
        str,
        typer.Option(
            help="The memory: a name from remanence list, or package.module:Class.", autocompletion=complete_layer
        ),
    ],
    hidden_size: Annotated[int, typer.Option(help="Hidden size of the memory.")] = 50,
    seed: Annotated[
        int, typer.Option(help="Seed of initialization and data order; task.options.seed is that of the data.")
    ] = 0,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    settings: Set = [],  # noqa: B006 (Typer wants a list)
    output: Annotated[Path | None, typer.Option(help="Folder of the run (default: runs/TASK-LAYER-...).")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train one memory on one task. Repeating the command resumes the run, and more --epochs extend it."""
    check_names(tasks=[task], layers=[layer])
    from remanence import report, training
    from remanence.training.comparison import format_folder_name

    fields = {"task": {"name": task}, "layer": {"name": layer, "hidden_size": hidden_size}, "seed": seed}
    config = training.build_run_config(fields, [*expand_short_options(epochs, learning_rate), *settings])
    folder = output or Path("runs") / format_folder_name(config)
    with show_progress(1) as tell:
        training.train(
            config,
            folder,
            overwrite=overwrite,
            progress=lambda done, total, metric: tell((folder, done, total, metric)),
        )
    print_results(report.load([folder]), as_json=as_json)
    say(f"The run is in {folder}; remanence report {shlex.quote(str(folder))} draws it.")
