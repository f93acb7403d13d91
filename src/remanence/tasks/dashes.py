"""Dashes and discs of Pathfinder images, drawn once for each direction they can have."""

from dataclasses import dataclass

import numpy as np

from remanence.extras import require_extra

with require_extra("train", "drawing the images of Pathfinder"):
    from PIL import Image, ImageDraw

FINER = 2  # drawn so many times finer, then reduced
DEGREES = 360


@dataclass(frozen=True)
class Drawing:
    """How the released images of one size were drawn.

    Args:
        size: rows and columns.
        margins: free pixels around a dash; one of them is drawn for each image.
        dash: length of a dash.
        thickness: the thickness of a dash.
        seed_distance: between the two targets' first dashes.
        marker_radius: the marker radius of the discs at the ends.
        continuity: how straight curves are: the angle between dashes counts so many times.
        distractor_dashes: in all distractors together.
        target_contrast, distractor_contrast: brightness of the dashes, before the brightest pixel becomes white.
    """

    size: int
    margins: tuple[int, ...]
    dash: int
    thickness: float
    seed_distance: int
    marker_radius: float
    continuity: float
    distractor_dashes: int
    target_contrast: float
    distractor_contrast: float


DRAWINGS = {
    32: Drawing(32, (1,), 2, 0.5, 7, 1.5, 1.0, 20, 1.5, 2.0),
    64: Drawing(64, (1,), 5, 1.0, 12, 2.5, 1.8, 22, 0.8, 0.8),
    128: Drawing(128, (2, 3), 5, 1.5, 20, 3.0, 1.8, 35, 0.9, 0.9),
}
"""As released with the Long Range Arena; what it does not say is the generator's default."""


@dataclass(frozen=True)
class Stamps:
    """Dashes of one margin, to be laid onto an image with their start at the centre.

    Args:
        margin: free pixels around a dash.
        lines: brightness of the dashes in each whole degree, [360, side, side].
        masks: the same dashes with their margins.
        steps: where the next dash may end, seen from where it is to start, (row, column), [steps, 2].
        angles: the angles of these steps.
        step_lines, step_masks: dashes from there back to the start, without the gap, [steps, side, side].
    """

    margin: int
    lines: np.ndarray
    masks: np.ndarray
    steps: np.ndarray
    angles: np.ndarray
    step_lines: np.ndarray
    step_masks: np.ndarray


def draw_stamps(drawing: Drawing, margin: int) -> Stamps:
    """Draw all dashes of one margin."""
    degrees = [draw_dash(drawing, margin, np.deg2rad(degree)) for degree in range(DEGREES)]
    reach = drawing.dash + margin
    angle = np.arange(0, 2 * np.pi, 1 / reach)  # one pixel of the circle apart
    steps = np.unique(np.floor(reach * np.stack([np.sin(angle), np.cos(angle)], 1)).astype(np.int64), axis=0)
    angles = np.arctan2(steps[:, 0], steps[:, 1])
    back = [draw_dash(drawing, margin, angle + np.pi) for angle in angles]
    lines, masks, step_lines, step_masks = (
        np.stack([pair[part] for pair in pairs]) for pairs in (degrees, back) for part in range(2)
    )
    return Stamps(margin, lines, masks, steps, angles, step_lines, step_masks)


def draw_dash(drawing: Drawing, margin: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a dash that leaves the centre at an angle, and the dash with its margin, both from 0 to 1."""
    half = drawing.dash + int(np.ceil(drawing.thickness)) + margin
    centre = half * FINER
    end = [int(np.ceil(centre + drawing.dash * FINER * part)) for part in (np.cos(angle), np.sin(angle))]
    fine = Image.new("L", (2 * centre + 1, 2 * centre + 1))
    width = round(drawing.thickness * FINER)
    ImageDraw.Draw(fine).line([(centre, centre), (end[0], end[1])], fill=255, width=width)
    side = 2 * half + 1
    return reduce_size(np.asarray(fine), side), reduce_size(widen(np.asarray(fine), margin * FINER), side)


def draw_disc(radius: float) -> np.ndarray:
    """Draw a disc around the centre of a square of an odd number of pixels, from 0 to 1."""
    half = int(np.ceil(radius)) + 1
    place = np.arange(2 * (half + 1) * FINER) - (half + 1) * FINER  # one pixel more on each side, for the reduction
    inside = place[:, None] ** 2 + place**2 <= (radius * FINER) ** 2
    return reduce_size(np.where(inside, 255, 0).astype(np.uint8), 2 * (half + 1))[1:, 1:]


def widen(image: np.ndarray, radius: int) -> np.ndarray:
    """Replace each pixel by the brightest one within ``radius``."""
    wide = np.pad(image, radius)
    place = np.arange(-radius, radius + 1)
    rows, columns = image.shape
    shifts = [(y + radius, x + radius) for y in place for x in place if y * y + x * x <= radius * radius]
    return np.max([wide[y : y + rows, x : x + columns] for y, x in shifts], axis=0)


def reduce_size(image: np.ndarray, side: int) -> np.ndarray:
    """Resize an image, from 0 to 1."""
    small = Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float32) / 255
