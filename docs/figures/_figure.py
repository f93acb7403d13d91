"""How the pictures of the tutorial look, and where they go: beside their scripts."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import torch
from matplotlib import pyplot

COLOURS = {"blue": "#0072b2", "orange": "#d55e00", "green": "#009e73", "pink": "#cc79a7", "gold": "#b8860b"}
WIDTH = 9.6  # inches

torch.set_num_threads(1)
torch.manual_seed(0)
pyplot.rcParams.update(
    {
        "font.size": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "savefig.dpi": 110,
    }
)


def panels(columns: int, height: float = 3.6, rows: int = 1) -> tuple[Any, Any]:
    """A figure as wide as the page, and its axes."""
    return pyplot.subplots(rows, columns, figsize=(WIDTH, height * rows), layout="constrained")


def save(figure: Any, name: str) -> None:
    path = Path(__file__).parent / f"{name}.png"
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)
    print(f"{path.name} written", flush=True)
