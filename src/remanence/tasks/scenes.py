"""Whole Pathfinder images: two target curves, distractors, a disc at two ends (Linsley et al. 2018)."""

import math

import numpy as np

from remanence.tasks.compiled import compiled
from remanence.tasks.dashed_curves import (
    CURVE_TRIALS,
    TRIALS,
    choose_step,
    draw_below,
    draw_free_place,
    is_within,
    move,
    stamp,
)
from remanence.tasks.dashes import DEGREES, Drawing, draw_disc, draw_stamps

PADDING = 1  # pixels at the edges that stay free
SECOND_TRIALS = 50  # of the second target beside the first


class Painter:
    """Draws images of one size.

    Args:
        drawing: how.
        contour_length: dashes of a target.
    """

    def __init__(self, drawing: Drawing, contour_length: int):
        self.drawing = drawing
        dashes = contour_length // 3  # of a distractor
        self.counts = (contour_length, dashes, drawing.distractor_dashes // dashes)
        self.style = (drawing.dash, drawing.continuity, drawing.target_contrast, drawing.distractor_contrast)
        self.disc = draw_disc(drawing.marker_radius)
        self.stamps = [
            (s.margin, s.lines, s.masks, s.steps, s.angles, s.step_lines, s.step_masks)
            for s in (draw_stamps(drawing, margin) for margin in drawing.margins)
        ]

    def paint(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw images [count, size, size] in bytes, and whether their discs lie on one curve [count]."""
        size = self.drawing.size
        images, labels = np.zeros((count, size, size), np.uint8), rng.integers(0, 2, count).astype(np.uint8)
        for image, label, margin in zip(images, labels, rng.integers(0, len(self.stamps), count), strict=True):
            draw_scene(
                rng, image, label, self.counts, self.style, self.drawing.seed_distance, self.disc, self.stamps[margin]
            )
        return images, labels


@compiled
def draw_scene(
    rng: np.random.Generator,
    image: np.ndarray,
    label: int,
    counts: tuple,
    style: tuple,
    seed_distance: int,
    marker: np.ndarray,
    drawn: tuple,
) -> None:
    """Draw one image whose discs lie on one curve (label 1) or on two (0)."""
    size, lines, step_lines = image.shape[0], drawn[1], drawn[5]
    canvas, mask = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    curves, short = np.zeros((2, counts[0], 3), np.int64), np.zeros((counts[1], 3), np.int64)
    while not grow_targets(rng, mask, curves, style, seed_distance, drawn):
        pass
    for curve in range(2):
        lay(canvas, curves[curve], style[2], lines, step_lines)
    for _ in range(counts[2]):
        for _ in range(CURVE_TRIALS):
            if grow_distractor(rng, mask, short, style, drawn):
                lay(canvas, short, style[3], lines, step_lines)
                break
    first = draw_below(rng, 2)
    last = first if label == 1 else 1 - first
    stamp(canvas, marker, curves[first, 0, 1], curves[first, 0, 2], 1.0)
    stamp(canvas, marker, curves[last, -1, 1], curves[last, -1, 2], 1.0)
    brightest = canvas.max()
    for row in range(size):
        for column in range(size):
            image[row, column] = int(canvas[row, column] / brightest * 255 + 0.5)


@compiled
def draw_seed(
    rng: np.random.Generator, mask: np.ndarray, border: int, dash: int, margin: int, dash_masks: np.ndarray
) -> tuple[int, int, int]:
    """Draw direction and place of a curve's first dash; (-1, 0, 0) if there is no room."""
    for _ in range(TRIALS):
        degree = draw_below(rng, DEGREES)
        row, column = draw_free_place(rng, mask, dash_masks[degree], border)
        if row < 0:
            return -1, 0, 0
        if does_fit(mask.shape[0], row, column, math.radians(degree), dash, margin):
            return degree, row, column
    return -1, 0, 0


@compiled
def find_pivot(row: int, column: int, angle: float, dash: int, margin: int) -> tuple[int, int]:
    """Return the place before a dash from which the next one is measured."""
    head = move(row, column, angle, dash)
    return move(head[0], head[1], angle + math.pi, dash + margin)


@compiled
def does_fit(size: int, row: int, column: int, angle: float, dash: int, margin: int) -> bool:
    """Whether a first dash, its head and its pivot lie on the image."""
    head, before = move(row, column, angle, dash), find_pivot(row, column, angle, dash, margin)
    return is_within(size, row, column) and is_within(size, head[0], head[1]) and is_within(size, before[0], before[1])


@compiled
def grow_targets(
    rng: np.random.Generator, mask: np.ndarray, curves: np.ndarray, style: tuple, seed_distance: int, drawn: tuple
) -> bool:
    """Grow two curves that start side by side; return whether both came to their full length.

    Args:
        rng: decides.
        mask: gets what the curves occupy, [size, size].
        curves: which stamp each dash is, and where, (stamp, row, column), [2, length, 3].
        style: the style of the drawing.
        seed_distance: between the first dashes.
        drawn: the stamps.
    """
    margin, dash_masks, dash = drawn[0], drawn[2], style[0]
    mask[:, :] = 1
    mask[1:-1, 1:-1] = 0
    put(curves[0], 0, draw_seed(rng, mask, 2 * seed_distance, dash, margin, dash_masks))
    if curves[0, 0, 0] < 0 or not draw_neighbour(rng, mask.shape[0], curves, dash, margin, seed_distance):
        return False
    # One after the other and not in turns, as published: nine in ten end at the border, and both would begin anew.
    first, row, column = curves[1, 0, 0], curves[1, 0, 1], curves[1, 0, 2]
    beside = mask.copy()
    stamp(beside, dash_masks[first], row, column, 1.0)
    if not grow_curve(rng, beside, curves[0], style, drawn):
        return False
    occupy(mask, curves[0], drawn)
    for _ in range(SECOND_TRIALS):
        tried = mask.copy()
        if grow_curve(rng, tried, curves[1], style, drawn):
            copy(tried, mask)
            return True
    return False


@compiled
def draw_neighbour(
    rng: np.random.Generator, size: int, dashes: np.ndarray, dash: int, margin: int, seed_distance: int
) -> bool:
    """Choose the second curve's first dash, so far from the first one's, in any direction; False if none fits."""
    for _ in range(TRIALS):
        around = math.radians(draw_below(rng, DEGREES))
        degree = draw_below(rng, DEGREES)
        row = round(dashes[0, 0, 1] + seed_distance * math.sin(around))
        column = round(dashes[0, 0, 2] + seed_distance * math.cos(around))
        if does_fit(size, row, column, math.radians(degree), dash, margin):
            put(dashes[1], 0, (degree, row, column))
            return True
    return False


@compiled
def put(dashes: np.ndarray, number: int, dash: tuple[int, int, int]) -> None:
    """Write down a dash (Numba would compile an assignment of the whole row for seconds)."""
    dashes[number, 0], dashes[number, 1], dashes[number, 2] = dash


@compiled
def copy(source: np.ndarray, target: np.ndarray) -> None:
    """Copy a mask."""
    for row in range(source.shape[0]):
        for column in range(source.shape[1]):
            target[row, column] = source[row, column]


@compiled
def wrap_angle(angle: float) -> float:
    """Return the same direction between -π and π."""
    return math.atan2(math.sin(angle), math.cos(angle))


@compiled
def grow_distractor(rng: np.random.Generator, mask: np.ndarray, dashes: np.ndarray, style: tuple, drawn: tuple) -> bool:
    """Grow one short curve where there is room; return whether it came to its full length, ``mask`` then has it."""
    put(dashes, 0, draw_seed(rng, mask, PADDING, style[0], drawn[0], drawn[2]))
    tried = mask.copy()
    if dashes[0, 0] < 0 or not grow_curve(rng, tried, dashes, style, drawn):
        return False
    copy(tried, mask)
    return True


@compiled
def grow_curve(rng: np.random.Generator, mask: np.ndarray, dashes: np.ndarray, style: tuple, drawn: tuple) -> bool:
    """Grow a curve from its first dash to its full length, and add it to the mask; False if it has nowhere to go."""
    margin, _, dash_masks, steps, angles, _, step_masks = drawn
    dash, continuity = style[0], style[1]
    last, row, column = dashes[0, 0], dashes[0, 1], dashes[0, 2]
    angle, patch = wrap_angle(math.radians(last)), dash_masks[last]
    at = find_pivot(row, column, angle, dash, margin)
    for number in range(1, len(dashes)):
        at = move(at[0], at[1], angle, dash + 2 * margin)
        step = choose_step(rng, mask, at[0], at[1], angle, margin, continuity, steps, angles, step_masks)
        if step < 0:
            return False
        stamp(mask, patch, row, column, 1.0)  # only now: a dash may touch the margin of the one before it
        angle, patch = angles[step], step_masks[step]
        row, column = at[0] + steps[step, 0], at[1] + steps[step, 1]
        put(dashes, number, (step, row, column))
    stamp(mask, patch, row, column, 1.0)
    return True


@compiled
def occupy(mask: np.ndarray, dashes: np.ndarray, drawn: tuple) -> None:
    """Add a curve to the mask."""
    for number in range(len(dashes)):
        which, row, column = dashes[number, 0], dashes[number, 1], dashes[number, 2]
        stamp(mask, drawn[2][which] if number == 0 else drawn[6][which], row, column, 1.0)


@compiled
def lay(canvas: np.ndarray, dashes: np.ndarray, contrast: float, lines: np.ndarray, step_lines: np.ndarray) -> None:
    """Draw a curve."""
    for number in range(len(dashes)):
        which, row, column = dashes[number, 0], dashes[number, 1], dashes[number, 2]
        stamp(canvas, lines[which] if number == 0 else step_lines[which], row, column, contrast)
