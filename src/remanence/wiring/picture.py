"""A picture of a wiring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from remanence.extras import require_extra

with require_extra("analysis", "a picture"):
    from matplotlib import pyplot
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from remanence.wiring.graph import Wiring

NCP_LAYERS = ("inter", "command", "motor")
"""What :attr:`Wiring.layer` counts in a neural circuit policy."""

EXCITES, INHIBITS, NEURON, INPUT = "#0072b2", "#d55e00", "#404040", "#009e73"
BEND = 0.12  # how far a synapse swings out, in its length: one each way does not hide the other
ALONG = np.linspace(0, 1, 16)[:, None]


def draw(wiring: Wiring, axes: Axes | None = None) -> Axes:
    """Draw neurons as discs and synapses as curves: blue with an arrowhead if they excite, orange with a dot if not.

    Layers stand in columns from the input to the output, lattices of two and three dimensions as such, all else on a
    ring. A loop is a synapse of a neuron to itself.

    Args:
        wiring: what to draw.
        axes: matplotlib axes to draw on; default: those of a new figure.

    Returns:
        The axes.
    """
    if axes is None:
        _, axes = pyplot.subplots(figsize=(6, 6), layout="constrained")
    neurons, inputs = place_neurons(wiring)
    gap = _find_gap(np.concatenate([neurons, inputs]))
    for matrix, senders in ((wiring.adjacency, neurons), (wiring.sensory, inputs)):
        if matrix is not None:
            _draw_synapses(axes, matrix, neurons, senders, 0.13 * gap, straight=wiring.layer is not None)
    size = min(70.0, (0.3 * gap * _compute_scale(axes, neurons, inputs)) ** 2)
    axes.scatter(*neurons.T, s=size, c=NEURON, zorder=3)
    axes.scatter(*inputs.T, s=size, c=INPUT, marker="s", zorder=3)
    _describe(axes, wiring, neurons, inputs)
    axes.set_aspect("equal")
    axes.margins(0.08)
    axes.axis("off")
    return axes


def place_neurons(wiring: Wiring) -> tuple[np.ndarray, np.ndarray]:
    """Place neurons [neurons, 2] and inputs [inputs, 2]; no inputs where every neuron hears them all."""
    inputs = 0 if wiring.sensory is None else wiring.sensory.shape[1]
    if wiring.layer is not None:
        return _place_layers(wiring.layer, inputs)
    if len(wiring.shape) in (2, 3):
        neurons = _place_lattice(wiring.shape)
    else:
        angle = 2 * np.pi * np.arange(wiring.neurons) / wiring.neurons
        neurons = max(wiring.neurons / 6, 1) * np.stack([np.sin(angle), np.cos(angle)], -1)
    low, high = neurons.min(0), neurons.max(0)
    return neurons, np.stack([np.full(inputs, low[0] - 1.5), np.linspace(high[1], low[1], inputs)], -1)


def _place_layers(layer: np.ndarray, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Place layers in columns of equal height, the inputs first."""
    height = max(inputs, int(np.bincount(layer).max())) - 1
    neurons = np.empty((len(layer), 2))
    for number in range(int(layer.max()) + 1):
        members = np.flatnonzero(layer == number)
        neurons[members] = _place_column(len(members), number + 1, height)
    return neurons, _place_column(inputs, 0, height)


def _place_column(count: int, number: int, height: int) -> np.ndarray:
    y = np.linspace(height / 2, -height / 2, count) if count > 1 else np.zeros(count)
    return np.stack([np.full(count, number * max(height, 1) / 2.5), y], -1)


def _place_lattice(shape: tuple[int, ...]) -> np.ndarray:
    """Place columns to the right and rows downwards; the first of three dimensions goes back, to the upper right."""
    *back, row, column = np.unravel_index(np.arange(np.prod(shape)), shape)
    depth = back[0] if back else np.zeros_like(row)
    return np.stack([column + 0.37 * depth, -row + 0.29 * depth], -1)


def _find_gap(points: np.ndarray) -> float:
    """Find the smallest distance of two points."""
    if len(points) == 1:
        return 1.0
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    return float(min(distance[~np.eye(len(points), dtype=bool)].min(), 1))


def _compute_scale(axes: Axes, *groups: np.ndarray) -> float:
    extent = np.ptp(np.concatenate(groups), axis=0).max() or 1.0
    box = axes.get_window_extent()
    return float(72 / axes.figure.dpi * min(box.width, box.height) / (1.2 * extent))


def _draw_synapses(
    axes: Axes, matrix: np.ndarray, receivers: np.ndarray, senders: np.ndarray, radius: float, *, straight: bool
) -> None:
    target, source = np.nonzero(matrix)
    start, end, excite = senders[source], receivers[target], matrix[target, source] > 0
    if not len(target):
        return
    bend = np.where(straight & (start[:, 0] != end[:, 0]), 0.0, BEND)  # from column to column none comes back
    curves = _compute_curves(start, end, bend, radius)
    colours = np.where(excite, EXCITES, INHIBITS)
    width, alpha = min(1.0, 0.3 + 40 / len(curves)), 0.8 if len(curves) < 500 else 0.4
    axes.add_collection(LineCollection(list(curves), colors=list(colours), linewidths=width, alpha=alpha))
    tip, heading = curves[:, -1], curves[:, -1] - curves[:, -2]
    heading = radius * heading / np.linalg.norm(heading, axis=1, keepdims=True)
    arrow, dot = tip[excite], tip[~excite]
    axes.quiver(
        *(arrow - heading[excite]).T, *heading[excite].T, color=EXCITES, angles="xy", scale_units="xy", scale=1,
        units="xy", width=radius / 40, headwidth=28, headlength=40, headaxislength=40, minlength=0,
    )  # fmt: skip
    axes.scatter(*dot.T, s=(0.6 * radius * _compute_scale(axes, receivers, senders)) ** 2, c=INHIBITS, zorder=2)


def _compute_curves(start: np.ndarray, end: np.ndarray, bend: np.ndarray, radius: float) -> np.ndarray:
    """Compute bent lines [synapses, points, 2] that end at the rim of the receiver; self-synapses are loops."""
    across = (end - start) @ np.array([[0, 1], [-1, 0]])
    middle = (start + end) / 2 + 2 * bend[:, None] * across
    length = np.linalg.norm(end - middle, axis=1, keepdims=True)
    own = length[:, 0] == 0
    end = end - radius * (end - middle) / np.where(length, length, 1)
    a, b, c = start[:, None], middle[:, None], end[:, None]
    curves = (1 - ALONG) ** 2 * a + 2 * ALONG * (1 - ALONG) * b + ALONG**2 * c
    angle = 2 * np.pi * ALONG[:, 0] * 0.9 - 0.4 * np.pi
    loop = 1.4 * radius * np.stack([np.cos(angle), 1 + np.sin(angle)], -1)
    curves[own] = start[own, None] + loop
    return curves


def _describe(axes: Axes, wiring: Wiring, neurons: np.ndarray, inputs: np.ndarray) -> None:
    if wiring.layer is not None and wiring.layer.max() == len(NCP_LAYERS) - 1:
        top = max(neurons[:, 1].max(), inputs[:, 1].max(initial=0)) + 0.7
        columns = {"sensory": inputs} | {name: neurons[wiring.layer == i] for i, name in enumerate(NCP_LAYERS)}
        for name, column in columns.items():
            if len(column):
                axes.text(column[0, 0], top, name, ha="center", va="bottom")
    signs = np.concatenate([wiring.signs, [] if wiring.sensory is None else wiring.sensory.ravel()])
    marks = [
        Line2D([], [], color=colour, marker=marker, label=label)
        for sign, colour, marker, label in ((1, EXCITES, ">", "excites"), (-1, INHIBITS, "o", "inhibits"))
        if (signs == sign).any()
    ]
    if marks:
        axes.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False)
