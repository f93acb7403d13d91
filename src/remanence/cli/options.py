"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Any

import typer


def make_set_option(what: str) -> Any:
    """The option ``--set`` of a command.

    Args:
        what: can be set, with an example.
    """
    return typer.Option("--set", metavar="FIELD=VALUE", help=f"{what}. May be given several times.")


Set = Annotated[
    list[str],
    make_set_option("Set any field of the configuration, such as training.learning_rate=0.003 or task.options.pairs=8"),
]
Output = Annotated[Path | None, typer.Option(help="Folder of the runs and the page (default: below runs/).")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Runs at a time (default: one for each core).")]
Epochs = Annotated[int | None, typer.Option(help="Short for --set training.epochs=N.")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Short for --set training.learning_rate=RATE.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start anew where the folder holds runs already.")]
AllowImport = Annotated[
    bool,
    typer.Option(
        "--allow-import",
        help="Import what a recipe or a stored configuration names as package.module:Class. It runs the code there.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")]


def expand_short_options(epochs: int | None, learning_rate: float | None) -> list[str]:
    """What stands for these options after ``--set``."""
    fields = {"training.epochs": epochs, "training.learning_rate": learning_rate}
    return [f"{field}={value!r}" for field, value in fields.items() if value is not None]
