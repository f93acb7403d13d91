"""Dashed curves that grow over an image without touching each other (Linsley et al. 2018)."""

import math

import numpy as np

from remanence.tasks.compiled import compiled

TRIALS = 3  # of a dash
CURVE_TRIALS = 5  # of a distractor
PROBES = 50  # places tried before all free ones are listed
OCCUPIED = 0.3  # a mask above it is not free
CROSSING = 1.8  # two masks that add up to it cross
LEAST = 1e-4  # total weight of directions below which a curve has nowhere to go


@compiled
def draw_below(rng: np.random.Generator, bound: int) -> int:
    """Draw a random integer from 0 to ``bound`` - 1."""
    return int(rng.random() * bound)


@compiled
def stamp(canvas: np.ndarray, patch: np.ndarray, row: int, column: int, scale: float) -> None:
    """Lay a patch onto a canvas, its centre at a place; the brighter of both stays."""
    half = patch.shape[0] // 2
    for y in range(max(0, row - half), min(canvas.shape[0], row + half + 1)):
        for x in range(max(0, column - half), min(canvas.shape[1], column + half + 1)):
            canvas[y, x] = max(canvas[y, x], scale * patch[y - row + half, x - column + half])


@compiled
def crosses(mask: np.ndarray, patch: np.ndarray, row: int, column: int) -> bool:
    """Whether a dash with its margin would lie on what is occupied."""
    half = patch.shape[0] // 2
    for y in range(max(0, row - half), min(mask.shape[0], row + half + 1)):
        for x in range(max(0, column - half), min(mask.shape[1], column + half + 1)):
            if mask[y, x] + patch[y - row + half, x - column + half] >= CROSSING:
                return True
    return False


@compiled
def is_free(mask: np.ndarray, patch: np.ndarray, row: int, column: int, border: int) -> bool:
    """Whether a dash with its margin would lie wholly on free pixels, ``border`` pixels away from the edges."""
    half, size = patch.shape[0] // 2, mask.shape[0]
    for i in range(patch.shape[0]):
        for j in range(patch.shape[1]):
            if patch[i, j] >= 1:
                y, x = row + i - half, column + j - half
                if min(y, x) < border or max(y, x) >= size - border or mask[y, x] > OCCUPIED:
                    return False
    return True


@compiled
def draw_free_place(rng: np.random.Generator, mask: np.ndarray, patch: np.ndarray, border: int) -> tuple[int, int]:
    """Draw a free place for the start of a dash, all equally likely; (-1, -1) if there is none."""
    size = mask.shape[0]
    for _ in range(PROBES):
        row, column = border + draw_below(rng, size - 2 * border), border + draw_below(rng, size - 2 * border)
        if is_free(mask, patch, row, column, border):
            return row, column
    count, place = 0, (-1, -1)
    for row in range(border, size - border):
        for column in range(border, size - border):
            if is_free(mask, patch, row, column, border):
                count += 1
                if draw_below(rng, count) == 0:
                    place = (row, column)
    return place


@compiled
def move(row: int, column: int, angle: float, distance: float) -> tuple[int, int]:
    """Move a place by a distance in a direction, rounded up."""
    return math.ceil(row + distance * math.sin(angle)), math.ceil(column + distance * math.cos(angle))


@compiled
def is_within(size: int, row: int, column: int) -> bool:
    """Whether a place lies on the image."""
    return 0 <= row < size and 0 <= column < size


@compiled
def find_highest_nearby(mask: np.ndarray, row: int, column: int, radius: int) -> float:
    """Find the highest value of the mask within ``radius``."""
    highest = 0.0
    for y in range(max(0, row - radius), min(mask.shape[0], row + radius + 1)):
        for x in range(max(0, column - radius), min(mask.shape[1], column + radius + 1)):
            if (y - row) ** 2 + (x - column) ** 2 <= radius * radius:
                highest = max(highest, mask[y, x])
    return highest


@compiled
def choose_step(
    rng: np.random.Generator,
    mask: np.ndarray,
    row: int,
    column: int,
    angle: float,
    margin: int,
    continuity: float,
    steps: np.ndarray,
    angles: np.ndarray,
    masks: np.ndarray,
) -> int:
    """Choose the next step of a curve among free places, straight ahead more likely than aside; -1 if none."""
    weights = np.zeros(len(steps))
    for i in range(len(steps)):
        y, x = row + steps[i, 0], column + steps[i, 1]
        if is_within(mask.shape[0], y, x):
            turn = abs(angles[i] - angle)
            turn = min(continuity * min(turn, 2 * math.pi - turn), math.pi / 2)
            weights[i] = (1 - find_highest_nearby(mask, y, x, margin)) * math.cos(turn) ** 2
    total = np.cumsum(weights)
    if total[-1] < LEAST:
        return -1
    for _ in range(TRIALS):
        drawn = rng.random() * total[-1]
        step = 0
        while total[step] <= drawn:
            step += 1
        if not crosses(mask, masks[step], row + steps[step, 0], column + steps[step, 1]):
            return step
    return -1
