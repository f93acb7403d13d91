"""Samples that are generated on demand, each from its index alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.utils.data import Dataset

from remanence.tasks.samples import Batch, widen

# SplitMix64: the step from number to number, and the two multipliers that mix its bits.
STEP, FIRST, SECOND = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))

Make = Callable[[np.ndarray], tuple[Any, ...]]


class Drawn(Dataset[tuple[Tensor, Tensor]]):
    """Samples that are not stored: each is generated, always the same, whenever it is requested.

    Args:
        make: turns numbers drawn uniformly from [0, 1), [samples, numbers], into inputs [samples, time] or
            [samples, time, channels], targets, and what else the batch has, in the order of :class:`Batch`.
        numbers: how many of them a sample takes.
        count: samples.
        key: decides the numbers; another key, other samples.
    """

    def __init__(self, make: Make, numbers: int, count: int, key: Sequence[int]):
        self.make, self.numbers, self.count = make, numbers, count
        self.start = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
        self.longest = self.batch([0]).inputs.shape[1]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        batch = self.batch([index])
        return batch.inputs[0], batch.targets[0]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the samples at these indices.

        Args:
            indices: the indices of the samples.

        Raises:
            IndexError: an index is out of range.
        """
        rows = np.asarray(indices, np.int64)
        rows = np.where(rows < 0, rows + self.count, rows)
        if ((rows < 0) | (rows >= self.count)).any():
            raise IndexError(f"there are {self.count} samples")
        inputs, targets, *others = self.make(draw_uniform(self.start, rows, self.numbers))
        parts = (part if part is None else convert(part) for part in others)
        return Batch(convert(inputs), convert(targets), *parts)


def convert(values: np.ndarray) -> Tensor:
    """Convert an array to a tensor, integers to torch's indices."""
    return widen(torch.from_numpy(values))


def draw_uniform(start: int, rows: Integer[np.ndarray, " rows"], columns: int) -> Float[np.ndarray, "rows columns"]:
    """Return numbers in [0, 1) by their position in one endless stream; row r starts at r ``columns``.

    The stream is SplitMix64's, each number a function of its place, so that any row is drawn at any time.

    References:
        Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014; Salmon et al., "Parallel random
        numbers: as easy as 1, 2, 3", 2011.
    """
    return (draw_bits(start, rows, columns) >> np.uint64(11)) * 2.0**-53


def draw_bits(start: int, rows: Integer[np.ndarray, " rows"], columns: int) -> Integer[np.ndarray, "rows columns"]:
    """Return the same numbers as 64 bits each."""
    place = rows.astype(np.uint64)[:, None] * np.uint64(columns) + np.arange(1, columns + 1, dtype=np.uint64)
    z = place * STEP + np.uint64(start)  # modulo 2^64
    for shift, factor in ((30, FIRST), (27, SECOND)):
        z ^= z >> np.uint64(shift)
        z *= factor
    z ^= z >> np.uint64(31)
    return z
