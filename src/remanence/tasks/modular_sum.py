"""Running sums modulo a number, parity among them."""

from collections.abc import Sequence

import numpy as np

from remanence.checks import check_range
from remanence.tasks.any_length import AnyLength
from remanence.tasks.stepwise import StepwiseClassification, format_steps


class ModularSum(AnyLength, StepwiseClassification):
    """Say at each step the sum of all digits so far, modulo a number: a state that every digit changes.

    The digits are drawn uniformly from 0 ... m - 1, and so every sum is uniform too: the loss is the cross-entropy, the
    metric the error rate over all steps, at chance 1 - 1 / m. Modulo 2 it is the parity of the ones so far.

    Args:
        modulus: m.
        length: digits.
        lengths: at which a trained model is tested besides.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        Minsky & Papert, "Perceptrons", 1969, chapter 3 (parity); Deletang et al., "Neural networks and the Chomsky
        hierarchy", 2022, arXiv:2207.02098 (trained on up to 40 steps, tested on up to 500); Merrill, Petty & Sabharwal,
        "The illusion of state in state-space models", 2024, arXiv:2404.08819 (a sum at each step).

    Example:
        >>> print(ModularSum(modulus=3, length=8, seed=1).examples(1)[0])
        0 2 2 2 2 1 1 1
        -> 0 2 1 0 2 0 1 2
    """

    def __init__(
        self,
        *,
        modulus: int = 5,
        length: int = 64,
        lengths: Sequence[int] = (128, 256, 512, 1024),
        train: int = 100_000,
        validation: int = 1000,
        test: int = 10_000,
        seed: int = 0,
    ):
        super().__init__(length=length, lengths=lengths, train=train, validation=validation, test=test, seed=seed)
        check_range(2, modulus=modulus)
        self.target_size = modulus
        self.vocabulary = [str(digit) for digit in range(modulus)]

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Digits [samples, length] and their running sums, of the same shape."""
        digits = (numbers * self.target_size).astype(np.int64)
        return digits, digits.cumsum(1) % self.target_size

    def examples(self, count: int) -> list[str]:
        """Digits, and below them the sums."""
        return format_steps(self, count)
