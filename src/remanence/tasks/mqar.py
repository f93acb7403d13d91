"""Multi-query associative recall (Arora et al. 2023)."""

import numpy as np

from remanence.checks import check_range
from remanence.errors import UserError
from remanence.tasks.choices import draw_distinct, draw_weighted
from remanence.tasks.generated import Generated
from remanence.tasks.stepwise import StepwiseClassification, format_answers
from remanence.tasks.task import IGNORED


class MQAR(Generated, StepwiseClassification):
    """Read pairs of a key and a value; later, wherever one of the keys comes again, say its value.

    Keys are drawn without replacement from the lower half of the vocabulary (token 0 aside), values from the upper. The
    pairs come first. Behind them each key comes once more, at an even step, the g-th of these with a weight of
    g^(a - 1): most come soon, a few late. All other tokens are drawn uniformly. The value is asked for at the step of
    the key, nothing elsewhere. The loss is the cross-entropy over the whole vocabulary, the metric the error rate.
    Chance is a guess among all values; a guess among those of the sequence errs on 1 - 1 / ``pairs``.

    Args:
        pairs: the number of pairs of keys and values, at most a fourth of the length; published: 4 to 64.
        length: tokens, even; published: 64, 128, 256, 512 for 4, 8, 16, ... pairs or more.
        vocabulary_size: the number of keys and values together.
        power: a, 1 for gaps drawn uniformly.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range, an odd length, or too few keys.

    References:
        Arora et al., "Zoology: measuring and improving recall in efficient language models", 2023, arXiv:2312.04927,
        with the definition and the sizes of the code that they published.

    Example:
        >>> print(MQAR(pairs=2, length=8, vocabulary_size=16, seed=1).examples(1)[0])
        k3 v5 k6 v0 k3[v5] · k6[v0] v4
    """

    def __init__(
        self,
        *,
        pairs: int = 4,
        length: int = 64,
        vocabulary_size: int = 8192,
        power: float = 0.01,
        train: int = 100_000,
        validation: int = 3000,
        test: int = 3000,
        seed: int = 0,
    ):
        super().__init__(train=train, validation=validation, test=test, seed=seed)
        check_range(1, pairs=pairs)
        if length % 2 or length < 4 * pairs:
            raise UserError(f"length must be even and at least four times the {pairs} pairs, got {length}")
        keys = vocabulary_size // 2 - 1
        if keys < pairs:
            least = 2 * pairs + 2
            raise UserError(f"vocabulary_size must be at least {least} for {pairs} pairs, got {vocabulary_size}")
        if power <= 0:
            raise UserError(f"power must be above 0, got {power}")
        self.pairs, self.length, self.keys = pairs, length, keys
        self.vocabulary = ["·", *(f"k{key}" for key in range(1, keys + 1))]
        self.vocabulary += [f"v{value}" for value in range(vocabulary_size - keys - 1)]
        self.target_size = vocabulary_size
        free = length // 2 - pairs  # even steps behind the pairs
        self.weights = np.arange(1.0, free + 1) ** (power - 1)
        self.numbers = 2 * pairs + free + length

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The error rate of a guess among the values."""
        return 1 - 1 / (self.target_size - self.keys - 1)

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [samples, length], and at each second coming of a key its value, elsewhere -100, of the same shape."""
        parts = np.cumsum([self.pairs, self.pairs, len(self.weights)])
        of_keys, of_values, of_gaps, of_tokens = np.split(numbers, parts, axis=1)
        first_value = self.keys + 1
        keys = 1 + draw_distinct(of_keys, self.keys)
        values = first_value + draw_distinct(of_values, self.target_size - first_value)
        asked = 2 * (self.pairs + draw_weighted(of_gaps, self.weights, self.pairs))
        tokens = (of_tokens * self.target_size).astype(np.int64)
        tokens[:, 0 : 2 * self.pairs : 2] = keys
        tokens[:, 1 : 2 * self.pairs : 2] = values
        np.put_along_axis(tokens, asked, keys, axis=1)
        targets = np.full_like(tokens, IGNORED)
        np.put_along_axis(targets, asked, values, axis=1)
        return tokens, targets

    def examples(self, count: int) -> list[str]:
        """Return sequences with each answer in brackets after the token that asks for it."""
        return format_answers(self, count)
