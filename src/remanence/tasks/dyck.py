"""Nested brackets of bounded depth (Hewitt et al. 2020)."""

from collections.abc import Sequence

import numpy as np

from remanence.checks import check_range
from remanence.tasks.any_length import AnyLength
from remanence.tasks.stepwise import StepwiseClassification, format_answers
from remanence.tasks.task import IGNORED


class Dyck(AnyLength, StepwiseClassification):
    """Say of each bracket that is about to be closed of which kind it is: Dyck-(k, m), a stack of bounded depth.

    Brackets of k kinds, nested at most m deep, are drawn one by one: where none is open, one is opened; where m are
    open, the last one is closed; else both are as likely. The kind of an opened bracket is drawn uniformly. Wherever a
    closing bracket follows, the model says which of the k it is; nothing else is asked. The loss is the cross-entropy,
    the metric the error rate, at chance 1 - 1 / k.

    As published, but that strings do not end: where the published ones would, the next one begins.

    Args:
        kinds: k; published: 2, 8, 32 and 128.
        depth: m; published: 3 and 5.
        length: brackets of a training string, more than ``depth``; published: up to 84 for a depth of 3, 180 for 5.
        lengths: at which a trained model is tested besides; published: twice as long as in training.
        train, validation, test: how many strings each split has.
        seed: decides every string.

    Raises:
        ValueError: a number out of range.

    References:
        Hewitt, Hahn, Ganguli, Liang & Manning, "RNNs can generate bounded hierarchical languages with optimal memory",
        2020, arXiv:2010.07515, section 6, with the probabilities of the code that they published. They train language
        models, and ask whether the right one has more than 80% of the probability of all closing brackets; here that
        probability is the loss, and the error rate counts where another bracket has more.

    Example:
        >>> print(Dyck(kinds=2, depth=2, length=10, seed=1).examples(1)[0])
        (1[1)] 1) (1 (1[1)] 1)[1)] 1) (1[1)] 1) (0 (1
    """

    def __init__(
        self,
        *,
        kinds: int = 8,
        depth: int = 3,
        length: int = 84,
        lengths: Sequence[int] = (168, 256, 512, 1024),
        train: int = 100_000,
        validation: int = 1000,
        test: int = 1000,
        seed: int = 0,
    ):
        check_range(1, depth=depth)
        check_range(2, kinds=kinds)
        super().__init__(
            length=length,
            lengths=lengths,
            shortest=depth + 1,  # so many brackets cannot all be opened
            train=train,
            validation=validation,
            test=test,
            seed=seed,
        )
        self.depth = depth
        self.target_size = kinds
        self.vocabulary = [*(f"{kind})" for kind in range(kinds)), *(f"({kind}" for kind in range(kinds))]

    def count_numbers(self, length: int) -> int:
        """Count two numbers for each bracket."""
        return 2 * length

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return brackets [samples, length] and, where a closing one follows, its kind; elsewhere -100."""
        opens, kinds = numbers[:, ::2] < 0.5, (numbers[:, 1::2] * self.target_size).astype(np.int64)
        rows = np.arange(len(numbers))
        stack, height = np.zeros((len(numbers), self.depth), np.int64), np.zeros(len(numbers), np.int64)
        tokens, targets = np.empty_like(kinds), np.full_like(kinds, IGNORED)
        for step in range(kinds.shape[1]):
            opened = (height == 0) | (opens[:, step] & (height < self.depth))
            top = stack[rows, height - 1]
            if step:
                targets[:, step - 1] = np.where(opened, IGNORED, top)
            tokens[:, step] = np.where(opened, self.target_size + kinds[:, step], top)
            stack[rows[opened], height[opened]] = kinds[opened, step]
            height += np.where(opened, 1, -1)
        return tokens, targets

    def examples(self, count: int) -> list[str]:
        """Return strings with each answer in brackets after the token that asks for it."""
        return format_answers(self, count)
