"""The base configurations of the Long Range Arena (Tay et al. 2020), as its authors publish them with their code."""

from typing import Any

from remanence.errors import UserError

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "listops": {"layers": 4, "width": 512, "heads": 8, "mlp": 1024, "max_length": 2000},
    "text": {"layers": 4, "width": 256, "heads": 4, "mlp": 1024, "max_length": 1000},
    "aan": {"layers": 4, "width": 128, "heads": 4, "mlp": 512, "max_length": 4000, "pairs": True},
    "image": {
        "layers": 1,
        "width": 32,
        "heads": 1,
        "mlp": 64,
        "max_length": 1024,
        "positions": "learned",
        "dropout": 0.3,
    },
    "pathfinder": {"layers": 1, "width": 32, "heads": 2, "mlp": 32, "max_length": 1024, "pooling": "mean"},
    "pathx": {
        "layers": 1,
        "width": 32,
        "heads": 2,
        "mlp": 32,
        "max_length": 128 * 128,
        "positions": "learned",
        "pooling": "mean",
    },
}
"""What differs from task to task."""

COMMON: dict[str, Any] = {"pooling": "cls", "positions": "sinusoidal", "dropout": 0.1}
"""What most tasks share."""


def get_configuration(task: str) -> dict[str, Any]:
    """Return the arguments of :class:`remanence.models.Transformer` for a task of the Long Range Arena.

    Raises:
        ValueError: there is no such task.
    """
    if task not in CONFIGURATIONS:
        raise UserError(f"the Long Range Arena has the tasks {', '.join(CONFIGURATIONS)}; got {task!r}")
    own = CONFIGURATIONS[task]
    # One hidden layer of the MLP's size before the classes, and another of half its size for pairs.
    readout = (own["mlp"], own["mlp"] // 2) if own.get("pairs") else (own["mlp"],)
    return {**COMMON, "readout": readout, **own}
