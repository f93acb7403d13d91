"""Placement of labels beside their points, without overlaps."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

Box: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right, top."""

MARK = 4  # points around a marker or a bar that stay free
LINE = 1.25  # height of a line, in font sizes


@dataclass(frozen=True)
class Label:
    """A text for the point (x, y), in data coordinates."""

    text: str
    x: float
    y: float
    colour: str


def wrap_label(text: str, letters: int) -> str:
    r"""Wrap a text to at most three lines, broken after spaces, dots and underscores.

    Example:
        >>> wrap_label("fast_weights inner_steps=3", 12)
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


def measure_text(text: str, font: float) -> tuple[float, float]:
    """Compute the width and height of a text in points."""
    lines = text.split("\n")
    drawn = FontProperties(size=font)
    widths = [text_to_path.get_text_width_height_descent(line, drawn, ismath=False)[0] for line in lines]
    return float(max(widths)), LINE * font * len(lines)


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
            centre = compute_centre(members, centres, heights)
        groups.append((members, centre))
    result = [0.0] * len(centres)
    for members, centre in groups:
        edge = centre - sum(heights[member] for member in members) / 2
        for member in members:
            result[member] = edge + heights[member] / 2
            edge += heights[member]
    return result


def compute_centre(members: list[int], centres: Sequence[float], heights: Sequence[float]) -> float:
    """Compute the centre of a stack whose members are, on average, where they should be."""
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
    heights = [measure_text(label.text, font)[1] / to_points for label in labels]
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
            parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),  # from the beginning of the text
                "color": label.colour,
                "linewidth": 0.7,
                "linestyle": (0, (1, 2)),
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def label_points(axes: Axes, labels: Sequence[Label], taken: Sequence[Box], font: float) -> bool:
    """Write labels close to their points where they cover neither a point nor its bars nor each other.

    Args:
        axes: where the points are drawn.
        labels: what to write.
        taken: all points and bars, in data coordinates.
        font: size in points.

    Returns:
        Whether there was room; if not, nothing is written.
    """
    to_points = 72 / axes.figure.dpi  # type: ignore[union-attr]
    frame = axes.get_window_extent()
    left, bottom, right, top = (np.asarray(frame.extents) * to_points).tolist()
    bounds = (left, bottom, right, top + 8)
    corners = axes.transData.transform(np.reshape(taken, (-1, 2))).reshape(-1, 4) * to_points
    boxes: list[Box] = [tuple(box) for box in (corners + MARK * np.array([-1, -1, 1, 1])).tolist()]
    places: list[Box] = []
    for label in labels:
        x, y = (axes.transData.transform((label.x, label.y)) * to_points).tolist()
        width, height = measure_text(label.text, font)
        choices = [(x + dx, y + dy, x + dx + width, y + dy + height) for dx, dy in list_offsets(width, height)]
        free = (place for place in choices if not is_covered(place, boxes, bounds))
        if (place := next(free, None)) is None:
            return False
        places.append((place[0] - x, place[1] - y, place[2] - x, place[3] - y))
        boxes.append(place)
    for label, place in zip(labels, places, strict=True):
        write_beside(axes, label, place, font)
    return True


def write_beside(axes: Axes, label: Label, place: Box, font: float) -> None:
    """Write a label at a place in points from its point, held at the side that is next to it: fonts differ in width."""
    left, bottom, right, top = place
    side, held = ("left", left) if left >= 0 else ("right", right) if right <= 0 else ("center", (left + right) / 2)
    axes.annotate(
        label.text,
        (label.x, label.y),
        xytext=(held, (bottom + top) / 2),
        textcoords="offset points",
        color=label.colour,
        fontsize=font,
        va="center",
        ha=side,
        linespacing=1.1,
        parse_math=False,
    )


def list_offsets(width: float, height: float) -> list[tuple[float, float]]:
    """List where the lower left corner of a label may be, relative to its point, the best place first."""
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


def is_covered(box: Box, boxes: Sequence[Box], bounds: Box) -> bool:
    """Whether a box lies over others or out of bounds."""
    inside = box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]
    return not inside or any(do_overlap(box, other) for other in boxes)


def do_overlap(a: Box, b: Box) -> bool:
    """Whether two boxes have an area in common."""
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
