"""Base class of tasks whose samples are generated on demand."""

from abc import abstractmethod

import numpy as np

from remanence.checks import check_range
from remanence.tasks.drawn import Drawn, Make
from remanence.tasks.task import SPLITS, Split, Task, check_split


class Generated(Task):
    """Samples made from random numbers, each from its own: neither their count nor their length takes memory.

    Attributes:
        numbers: how many random numbers a sample takes.

    Args:
        train, validation, test: how many samples each split has.
        seed: decides every sample.

    Raises:
        ValueError: a size below 1 or a negative seed.
    """

    numbers: int

    def __init__(self, *, train: int, validation: int, test: int, seed: int):
        self.sizes: dict[Split, int] = {"train": train, "validation": validation, "test": test}
        check_range(1, most=10**12, **self.sizes)
        check_range(0, most=2**63, seed=seed)
        self.seed = seed

    @abstractmethod
    def make(self, numbers: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """Inputs, targets and what else a batch has, decided by these numbers [samples, numbers] in [0, 1)."""

    def dataset(self, split: Split) -> Drawn:
        """The samples of one split."""
        return self.draw_samples(split, self.make, self.numbers)

    def draw_samples(self, split: Split, make: Make, numbers: int) -> Drawn:
        """Return the samples of one split, made in this way."""
        key = (self.seed, SPLITS.index(check_split(split)))
        return Drawn(make, numbers, self.sizes[split], key)
