"""How long does it take to make the ListOps and Pathfinder data of the Long Range Arena?

ListOps: 100,000 expressions are wanted in under 2 minutes on 2 cores. Beside the compiled generator stands the plain
recursion; both throw away what is too short or too long. Pathfinder has no rival here.
"""

import random

import numpy as np
from _interleaved import measure_medians, show

from remanence.tasks import expressions
from remanence.tasks.dashes import DRAWINGS
from remanence.tasks.scenes import Painter

COUNT, IMAGES = 200, 100
OPERATORS = {
    "MIN": min,
    "MAX": max,
    "MED": lambda values: int(np.median(values)),
    "SM": lambda values: sum(values) % 10,
}


def grow_expression(rng: random.Random, level: int = 1) -> tuple[list[str], int]:
    """Words and value of one expression."""
    if level == 10 or (level > 1 and rng.random() < 0.75):
        value = rng.randrange(10)
        return [str(value)], value
    name = rng.choice([*OPERATORS])
    parts = [grow_expression(rng, level + 1) for _ in range(rng.randint(2, 10))]
    words = [f"[{name}", *(word for part, _ in parts for word in part), "X"]
    return words, OPERATORS[name]([value for _, value in parts])


def fill_by_recursion():
    rng, kept = random.Random(0), 0
    while kept < COUNT:
        kept += 500 < len(grow_expression(rng)[0]) < 2000


def fill_by_kernel():
    tokens = np.zeros((COUNT, 1999), np.uint8)
    expressions.fill(np.random.default_rng(0), 10, 10, 500, tokens, np.zeros(COUNT, np.int64))


def main():
    figures = measure_medians({"recursion in Python": fill_by_recursion, "remanence": fill_by_kernel}, repeats=5)
    show(f"ListOps: {COUNT} expressions, one core", figures, "remanence")
    for name, seconds in figures.items():
        print(f"100,000 expressions, {name}: {seconds * 100_000 / COUNT:.0f} s")
    painters = {size: Painter(drawing, 14) for size, drawing in DRAWINGS.items()}
    ways = {f"{size} x {size}": (lambda p=p: p.paint(np.random.default_rng(0), IMAGES)) for size, p in painters.items()}
    figures = measure_medians(ways, repeats=3)
    show(f"Pathfinder: {IMAGES} images, one core", figures, "32 x 32")
    for name, seconds in figures.items():
        print(f"200,000 images of {name}: {seconds * 200_000 / IMAGES / 60:.1f} minutes")


if __name__ == "__main__":
    main()
