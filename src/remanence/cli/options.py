"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Any

import typer


def make_set_option(what: str) -> Any:
    """Create the option ``--set`` of a command.

    Args:
        what: can be set, with an example.
    """
    return typer.Option("--set", metavar="FIELD=VALUE", help=f"{what}. Can be repeated.")


Set = Annotated[
    list[str],
    make_set_option("Set any field of the configuration, such as training.learning_rate=0.003 or task.options.pairs=8"),
]
Output = Annotated[Path | None, typer.Option(help="Folder for the runs and the report (default: below runs/).")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Number of parallel runs (default: one per core).")]
Epochs = Annotated[int | None, typer.Option(help="Short for --set training.epochs=N.")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Short for --set training.learning_rate=RATE.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Restart runs that the folder already holds.")]
AllowImport = Annotated[
    bool,
    typer.Option(
        "--allow-import",
        help="Allow a recipe or a stored configuration to import package.module:Class, which runs its code.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def expand_short_options(epochs: int | None, learning_rate: float | None) -> list[str]:
    """Translate these options to arguments of ``--set``."""
    fields = {"training.epochs": epochs, "training.learning_rate": learning_rate}
    return [f"{field}={value!r}" for field, value in fields.items() if value is not None]
