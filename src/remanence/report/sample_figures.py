"""Pictures of the samples of a task: images as images, tokens as coloured cells, signals as lines."""

import math
import warnings
from pathlib import Path
from typing import TypeAlias

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from remanence.files import replace_file
from remanence.report.style import DESKTOP, LIGHT, make_settings
from remanence.tasks import Batch, Task
from remanence.tasks.task import IGNORED

COLUMNS = 64  # cells in a line; half as many if their names are long
SHORT = 2  # letters of a name that is not long
NAMED = 2048  # of a longer sequence the cells are small and have colours alone
FEW = 20  # symbols that get a colour each, rather than a place on a scale
SIDE = 4.0  # inches of an image, and of the panels of lines
LINE = 0.25  # inches of a line, where they are many
HIGHEST = 20.0  # inches of the lines together
MARGIN = 0.7  # inches for the title and the axis

Colour: TypeAlias = tuple[float, float, float]


def write_samples(task: Task, name: str, count: int, folder: Path) -> list[Path]:
    """Draw the first training samples of a task, one PNG each.

    Args:
        task: whose samples.
        name: the name of the files, ``NAME-1.png`` and so on.
        count: how many at most.
        folder: where they go; made if it is missing.

    Returns:
        The files.
    """
    batch, paths = task.first(count), []
    for row in range(len(batch.targets)):
        paths.append(folder / f"{name}-{row + 1}.png")
        with (
            matplotlib.rc_context({**make_settings(LIGHT, DESKTOP), "axes.grid": False}),
            replace_file(paths[-1]) as file,
        ):
            figure = draw_sample(task, batch, row)
            figure.suptitle(f"{name}, sample {row + 1}{format_answer(task, batch.targets[row])}")
            with warnings.catch_warnings(action="ignore"):  # letters that the font lacks
                figure.savefig(file, format="png", dpi=150)
    return paths


def format_answer(task: Task, target: Tensor) -> str:
    """Format the target of a task that has one per sequence."""
    if task.stepwise:
        return ""
    values = target.flatten().tolist()
    return ": " + ", ".join(f"{value:.4g}" if target.is_floating_point() else f"class {value}" for value in values)


def draw_sample(task: Task, batch: Batch, row: int) -> Figure:
    """Draw one sample."""
    inputs = batch.inputs[row]
    if task.picture is not None:
        figure, (axes,) = make_panels(1, SIDE, SIDE)
        axes.imshow(inputs.numpy().reshape(task.picture), cmap="gray")
        axes.axis("off")
        return figure
    parts = list(inputs) if task.paired else [inputs]
    if batch.mask is not None:
        masks = list(batch.mask[row]) if task.paired else [batch.mask[row]]
        parts = [part[mask] for part, mask in zip(parts, masks, strict=True)]
    target = batch.targets[row] if task.stepwise else None
    if task.vocabulary is not None:
        return draw_tokens(parts, task.vocabulary, target)
    times = None if batch.timespans is None else batch.timespans[row][: len(parts[0])].cumsum(0).numpy()
    return draw_signal(parts[0] if target is None else (parts[0], target), times)


def make_panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Create a figure of stacked panels; ``height`` is their total height in inches."""
    figure = Figure(figsize=(max(width, SIDE), height + MARGIN), layout="constrained")
    return figure, list(figure.subplots(count, 1, squeeze=False)[:, 0])


def draw_signal(signals: Tensor | tuple[Tensor, Tensor], times: np.ndarray | None) -> Figure:
    """Draw a signal [time, channels], and below it the target at each step, if there is one."""
    parts = signals if isinstance(signals, tuple) else (signals,)
    channels = sum(part.shape[1] for part in parts)
    figure, axes = make_panels(len(parts), DESKTOP.width, max(SIDE, min(LINE * channels, HIGHEST)))
    for panel, part, title in zip(axes, parts, ("input", "target"), strict=False):
        draw_lines(panel, part.numpy(), np.arange(len(part)) if times is None else times)
        panel.set_title(title, loc="left")
    if times is None:
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1].set_xlabel("step" if times is None else "time")
    return figure


def draw_lines(axes: Axes, signal: np.ndarray, times: np.ndarray) -> None:
    """Draw a line for each channel, the first at the top, all to the same scale."""
    channels = signal.shape[1]
    apart = 1.2 * (float(np.ptp(signal)) or 1.0)
    for channel in range(channels):
        colour = LIGHT.colours[channel % len(LIGHT.colours)]
        axes.plot(times, signal[:, channel] - channel * apart, color=colour, linewidth=1.2, drawstyle="steps-mid")
    if channels == 1:
        return
    named = range(0, channels, -(-channels // FEW))
    axes.set_yticks([-channel * apart for channel in named], [f"channel {channel}" for channel in named])


def draw_tokens(parts: list[Tensor], vocabulary: list[str], target: Tensor | None) -> Figure:
    """Draw tokens as cells line by line, with the targets below each line."""
    longest = max(map(len, parts))
    if longest > NAMED:
        columns = 2 * math.isqrt(longest)
    else:
        columns = min(longest, COLUMNS if max(map(len, vocabulary)) <= SHORT else COLUMNS // 2)
    grids = [lay_out(part, None if len(parts) > 1 else target, columns) for part in parts]
    cell = DESKTOP.width / max(columns, COLUMNS // 4)
    figure, axes = make_panels(len(grids), cell * columns, cell * sum(map(len, grids)))
    for panel, grid in zip(axes, grids, strict=True):
        draw_cells(panel, grid, vocabulary, named=longest <= NAMED)
        if target is not None and longest <= NAMED:
            labels = ["input", "target", ""] * (len(grid) // 3 + 1)
            panel.set_yticks(range(len(grid)), labels[: len(grid)])
        elif target is not None:
            panel.set_title("of each two lines the upper is the input, the lower the target", loc="left")
    return figure


def lay_out(tokens: Tensor, target: Tensor | None, columns: int) -> np.ndarray:
    """Arrange cells [lines, columns], with a line for the target and an empty one below each; empty cells are -100."""
    rows = [tokens] if target is None else [tokens, target]
    wrapped = np.full((-(-len(tokens) // columns), len(rows) + (target is not None), columns), IGNORED)
    for place, values in enumerate(rows):
        padded = np.full(len(wrapped) * columns, IGNORED)
        padded[: len(values)] = values.numpy()
        wrapped[:, place] = padded.reshape(-1, columns)
    grid = wrapped.reshape(-1, columns)
    return grid if target is None else grid[:-1]


def draw_cells(axes: Axes, grid: np.ndarray, vocabulary: list[str], *, named: bool) -> None:
    """Draw coloured cells with the names of their tokens."""
    colours = np.array([*make_palette(vocabulary), to_rgb(LIGHT.paper)])
    axes.imshow(colours[np.where(grid == IGNORED, len(vocabulary), grid)], aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if not named:
        return
    axes.hlines(np.arange(1, len(grid)) - 0.5, -0.5, grid.shape[1] - 0.5, color=LIGHT.paper, linewidth=1)
    axes.vlines(np.arange(1, grid.shape[1]) - 0.5, -0.5, len(grid) - 0.5, color=LIGHT.paper, linewidth=1)
    shown = {vocabulary[token] for token in np.unique(grid) if token != IGNORED}
    points = 72 * DESKTOP.width / max(grid.shape[1], COLUMNS // 4)  # of a cell
    size = min(9.0, 1.2 * points / max(map(len, shown)), 0.7 * points)
    for (line, column), token in np.ndenumerate(grid):
        if token != IGNORED and vocabulary[token].isprintable():
            name = vocabulary[token]
            axes.text(column, line, name, ha="center", va="center", fontsize=size, parse_math=False)


def make_palette(vocabulary: list[str]) -> list[Colour]:
    """Choose a light colour for each symbol; blanks are grey."""
    count = len(vocabulary)
    if count <= FEW:
        places = np.arange(FEW)
        strong = colormaps["tab20"](np.concatenate([places[::2], places[1::2]])[:count])  # it goes by pairs alike
    else:
        strong = colormaps["turbo"](np.linspace(0, 1, count))
    light = 0.45 + 0.55 * strong[:, :3]
    return [to_rgb(LIGHT.grid if name == "·" else tuple(row)) for name, row in zip(vocabulary, light, strict=True)]
