"""Labels beside what they name, none over another."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes

Box: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right, top."""

MARK = 4  # points around a marker or a bar that stay free
LETTER = 0.6  # width of a letter, in font sizes
LINE = 1.25  # height of a line, in font sizes


@dataclass(frozen=True)
class Label:
    """A text for the point (x, y), in data coordinates."""

    text: str
    x: float
    y: float
    colour: str


def wrapped(text: str, letters: int) -> str:
    r"""The text in at most three lines, broken after spaces, dots and underscores.

    Example:
        >>> wrapped("fast_weights inner_steps=3", 12)
        'fast_weights\ninner_\nsteps=3'
    """
    lines = [""]
    for word in re.split(r"(?<=[ ._])", text):
        for start in range(0, len(word), letters):
            piece = word[start : start + letters]
            if lines[-1] and len(lines[-1] + piece.rstrip()) > letters:
                lines.append("")
            lines[-1] += piece
    lines = [line.strip() for line in lines]
    return "\n".join(lines if len(lines) <= 3 else [*lines[:2], lines[2][: letters - 1] + "…"])


def size(text: str, font: float) -> tuple[float, float]:
    """Width and height of a text in points, a little generous."""
    lines = text.split("\n")
    return LETTER * font * max(map(len, lines)), LINE * font * len(lines)


def spread_out(centres: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Move centres as little as needed so that boxes of these heights do not overlap, and stay in [low, high].

    Example:
        >>> spread_out([5.0, 5.0, 0.0], [2.0, 2.0, 2.0], 0.0, 10.0)
        [4.0, 6.0, 1.0]
    """
    order = sorted(range(len(centres)), key=lambda index: centres[index])
    # Groups of touching boxes, [members, centre]: each sits at the mean of what its members want.
    groups: list[tuple[list[int], float]] = []
    for index in order:
        members, centre = [index], centres[index]
        while True:
            height = sum(heights[member] for member in members)
            centre = min(max(centre, low + height / 2), high - height / 2)
            if not groups:
                break
            above, above_centre = groups[-1]
            if above_centre + sum(heights[member] for member in above) / 2 <= centre - height / 2:
                break
            groups.pop()
            members = above + members
            centre = wanted_centre(members, centres, heights)
        groups.append((members, centre))
    result = [0.0] * len(centres)
    for members, centre in groups:
        edge = centre - sum(heights[member] for member in members) / 2
        for member in members:
            result[member] = edge + heights[member] / 2
            edge += heights[member]
    return result


def wanted_centre(members: list[int], centres: Sequence[float], heights: Sequence[float]) -> float:
    """Centre of a stack whose members are, on average, where they want to be."""
    edge, offsets = 0.0, []
    for member in members:
        offsets.append(centres[member] - (edge + heights[member] / 2))
        edge += heights[member]
    return float(np.mean(offsets)) + edge / 2


def label_margin(axes: Axes, labels: Sequence[Label], font: float) -> None:
    """Write labels at the right of the axes, as near as they fit to the height of their points, with thin leaders."""
    box = axes.get_window_extent()
    points = axes.transData.transform([(label.x, label.y) for label in labels])
    to_points = 72 / axes.figure.dpi  # type: ignore[union-attr]
    heights = [size(label.text, font)[1] / to_points for label in labels]
    places = spread_out([float(y) for _, y in points], heights, box.y0 - 4, box.y1 + 8)
    for label, place in zip(labels, places, strict=True):
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(1 + 10 / to_points / box.width, (place - box.y0) / box.height),
            textcoords="axes fraction",
            color=label.colour,
            fontsize=font,
            va="center",
            ha="left",
            linespacing=1.1,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": label.colour,
                "linewidth": 0.7,
                "linestyle": (0, (1, 2)),
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def label_points(axes: Axes, labels: Sequence[Label], taken: Sequence[Box], font: float) -> None:
    """Write labels close to their points where they cover neither a point nor its bars nor each other.

    Args:
        axes: where the points are drawn.
        labels: what to write.
        taken: all points and bars, in data coordinates.
        font: size in points.
    """
    to_points = 72 / axes.figure.dpi  # type: ignore[union-attr]
    frame = axes.get_window_extent()
    bounds = (frame.x0 * to_points, frame.y0 * to_points, frame.x1 * to_points, frame.y1 * to_points + 8)
    corners = axes.transData.transform(np.reshape(taken, (-1, 2))).reshape(-1, 4) * to_points
    boxes: list[Box] = [tuple(box) for box in corners + MARK * np.array([-1, -1, 1, 1])]
    for label in labels:
        at = axes.transData.transform((label.x, label.y)) * to_points
        width, height = size(label.text, font)
        choices = [(at[0] + dx, at[1] + dy) for dx, dy in offsets(width, height)]
        x, y = min(choices, key=lambda place: covered((*place, place[0] + width, place[1] + height), boxes, bounds))
        boxes.append((x, y, x + width, y + height))
        # Held at the side that is next to the point: the width is an estimate.
        side, held = ("left", x) if x >= at[0] else ("right", x + width) if x + width <= at[0] else ("center", at[0])
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(held - at[0], y + height / 2 - at[1]),
            textcoords="offset points",
            color=label.colour,
            fontsize=font,
            va="center",
            ha=side,
            linespacing=1.1,
        )


def offsets(width: float, height: float) -> list[tuple[float, float]]:
    """Where the lower left corner of a label may lie, from its point, the best first."""
    return [
        offset
        for gap in (8.0, 14.0, 22.0)
        for offset in (
            (gap, -height / 2),
            (-gap - width, -height / 2),
            (-width / 2, gap),
            (-width / 2, -gap - height),
            (gap / 2, gap / 2),
            (gap / 2, -gap / 2 - height),
            (-gap / 2 - width, gap / 2),
            (-gap / 2 - width, -gap / 2 - height),
        )
    ]


def covered(box: Box, boxes: Sequence[Box], bounds: Box) -> float:
    """How much of a box lies over others or out of bounds."""
    inside = overlap(box, bounds)
    return sum(overlap(box, other) for other in boxes) + (box[2] - box[0]) * (box[3] - box[1]) - inside


def overlap(a: Box, b: Box) -> float:
    """Area common to two boxes."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
