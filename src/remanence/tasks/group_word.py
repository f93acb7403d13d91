"""The word problem of a finite group (Merrill et al. 2024)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from remanence.errors import UserError
from remanence.tasks.any_length import AnyLength
from remanence.tasks.finite_groups import GROUPS
from remanence.tasks.stepwise import StepwiseClassification, format_steps


class GroupWord(AnyLength, StepwiseClassification):
    """Say at each step the product of all elements of a group so far: the word problem, or state tracking.

    The elements are drawn uniformly, g_1, g_2, ..., and the target at step t is g_1 g_2 ... g_t, which is uniform too:
    the loss is the cross-entropy, the metric the error rate over all steps, at chance 1 - 1 / n for n elements.

    Z60 is commutative, A4 x Z5 and S3 are solvable, A5 and S5 are not: their word problem is complete for NC1. Unless
    TC0 = NC1, transformers and linear recurrences with diagonal matrices, of any fixed depth, cannot solve it at every
    length; nonlinear recurrent networks can, and so can linear ones whose matrices depend on the input and mix units.

    Args:
        group: ``"S3"`` (6 elements), ``"A5"``, ``"Z60"``, ``"A4xZ5"`` (60 each) or ``"S5"`` (120).
        length: elements of a training sequence; with a target at each step, all shorter words are trained too.
        lengths: at which a trained model is tested besides.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: no such group, or a number out of range.

    References:
        Merrill, Petty & Sabharwal, "The illusion of state in state-space models", 2024, arXiv:2404.08819, section 5
        (A5, A4 x Z5 and Z60, a label at each step); Grazzi et al., "Unlocking state-tracking in linear RNNs through
        negative eigenvalues", 2024, arXiv:2411.12537, section 5 (S5, tested at lengths beyond those of training).

    Example:
        >>> print(GroupWord(group="S3", length=6, seed=1).examples(1)[0])
        132 312 312 312 312 231
        -> 132 213 321 132 213 132
    """

    def __init__(
        self,
        *,
        group: Literal["S3", "A5", "S5", "Z60", "A4xZ5"] = "A5",
        length: int = 40,
        lengths: Sequence[int] = (64, 128, 256, 512, 1024),
        train: int = 100_000,
        validation: int = 1000,
        test: int = 1000,
        seed: int = 0,
    ):
        super().__init__(length=length, lengths=lengths, train=train, validation=validation, test=test, seed=seed)
        if group not in GROUPS:
            raise UserError(f"group must be one of {', '.join(GROUPS)}, got {group!r}")
        created = GROUPS[group]()
        self.vocabulary, self.table = created.names, created.table
        self.target_size = len(created.names)

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return elements [samples, length] and their products so far, of the same shape."""
        elements = (numbers * self.target_size).astype(np.int64)
        products = elements.copy()
        for step in range(1, elements.shape[1]):
            products[:, step] = self.table[products[:, step - 1], elements[:, step]]
        return elements, products

    def examples(self, count: int) -> list[str]:
        """Return elements, and below them the products."""
        return format_steps(self, count)
