"""Associative recall after a long stretch of distractors."""

from collections.abc import Sequence

import numpy as np

from remanence.checks import check_range
from remanence.tasks.any_length import AnyLength
from remanence.tasks.choices import draw_distinct
from remanence.tasks.stepwise import StepwiseClassification, format_answers
from remanence.tasks.task import IGNORED


class LongLookback(AnyLength, StepwiseClassification):
    """Read pairs of a key and a value, then a long stretch of values without keys; then say the value of each key.

    The keys are distinct, values and distractors are drawn uniformly from the same values: what stands behind a key is
    to be kept, all else is not. Each key comes once more behind the stretch, in random order, and its value is asked
    for at the same step. The loss is the cross-entropy, the metric the error rate, at chance 1 - 1 / ``values``.

    In :class:`MQAR` most questions come soon behind the pairs; it measures how many pairs a state holds. Here every
    question comes the whole stretch after every pair; it measures for how long they are held.

    Args:
        pairs: of keys and values.
        keys, values: how many different ones.
        length: distractors between pairs and questions in training.
        lengths: distractors with which a trained model is tested besides.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range, or fewer keys than pairs.

    References:
        The pairs and questions of Arora et al., "Zoology: measuring and improving recall in efficient language models",
        2023, arXiv:2312.04927, with the gap between them set apart. The form is ours.

    Example:
        >>> print(LongLookback(pairs=2, keys=4, values=4, length=5, seed=1).examples(1)[0])
        k1 v2 k3 v2 v1 v2 v2 v1 v3 k3[v2] k1[v2]
    """

    def __init__(
        self,
        *,
        pairs: int = 4,
        keys: int = 16,
        values: int = 16,
        length: int = 100,
        lengths: Sequence[int] = (200, 400, 800),
        train: int = 100_000,
        validation: int = 1000,
        test: int = 1000,
        seed: int = 0,
    ):
        check_range(1, pairs=pairs)
        self.pairs, self.keys = pairs, keys
        super().__init__(length=length, lengths=lengths, train=train, validation=validation, test=test, seed=seed)
        check_range(pairs, keys=keys)
        check_range(2, values=values)
        self.target_size = values
        self.vocabulary = [*(f"v{value}" for value in range(values)), *(f"k{key}" for key in range(keys))]

    def count_numbers(self, length: int) -> int:
        """Count the numbers of the pairs, the distractors and the order of the questions."""
        return 3 * self.pairs + length

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens [samples, 3 pairs + length], and at each question the value, elsewhere -100."""
        of_keys, of_order, of_values = np.split(numbers, [self.pairs, 2 * self.pairs], axis=1)
        keys = self.target_size + draw_distinct(of_keys, self.keys)
        order = draw_distinct(of_order, self.pairs)
        drawn = (of_values * self.target_size).astype(np.int64)
        values, distractors = drawn[:, : self.pairs], drawn[:, self.pairs :]
        pairs = np.stack([keys, values], axis=2).reshape(len(numbers), -1)
        tokens = np.concatenate([pairs, distractors, np.take_along_axis(keys, order, axis=1)], axis=1)
        targets = np.full_like(tokens, IGNORED)
        targets[:, -self.pairs :] = np.take_along_axis(values, order, axis=1)
        return tokens, targets

    def examples(self, count: int) -> list[str]:
        """Return sequences with each answer in brackets after the key that asks for it."""
        return format_answers(self, count)
