"""Base class of tasks whose sequences can have any length, so that a trained model is tested on longer ones."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from remanence.checks import check_range
from remanence.tasks.drawn import Drawn
from remanence.tasks.generated import Generated
from remanence.tasks.task import SPLITS


class AnyLength(Generated):
    """Samples of any length: trained at one, a model is tested at this and at others.

    Whether a model keeps the state that a task asks for, or has only learned sequences of one length, shows in its
    metric at the other lengths: the result of a run has it as ``length_metrics``, and a report draws the curve.

    Attributes:
        length: of the training sequences.
        lengths: at which a trained model is tested, in increasing order, ``length`` among them; empty: at no other.

    Args:
        length: of the training sequences.
        lengths: at which a trained model is tested besides.
        shortest: a shorter sequence asks for nothing.
        train, validation, test: how many samples each split has; the test at each length has ``test``.
        seed: decides every sample.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        *,
        length: int,
        lengths: Sequence[int],
        shortest: int = 1,
        train: int,
        validation: int,
        test: int,
        seed: int,
    ):
        super().__init__(train=train, validation=validation, test=test, seed=seed)
        check_range(shortest, length=length)
        for each in lengths:
            check_range(shortest, lengths=each)
        self.length, self.lengths = length, sorted({length, *lengths}) if lengths else []
        self.numbers = self.count_numbers(length)

    def count_numbers(self, length: int) -> int:
        """Count the random numbers that a sample of this length takes."""
        return length

    @abstractmethod
    def make(self, numbers: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """Return inputs and targets; the number of columns of ``numbers`` [samples, numbers] decides the length."""

    def make_longest(self, numbers: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """Return samples as long as possible, for tasks whose :meth:`make` draws their lengths too."""
        return self.make(numbers)

    def dataset_at(self, length: int) -> Drawn:
        """Return test samples of one length, others than those of the three splits.

        Args:
            length: of each.
        """
        key = (self.seed, SPLITS.index("test"), length)
        return Drawn(self.make_longest, self.count_numbers(length), self.sizes["test"], key)
