"""Recall of one of several digits by its place."""

import numpy as np
import torch

from remanence.checks import check_range
from remanence.tasks.classification import Classification
from remanence.tasks.samples import Samples
from remanence.tasks.task import SPLITS, Split, check_split

DIGITS = 10
BLANK = DIGITS  # the token between digits and question


class IndexedRecall(Classification):
    """See ten digits, then blanks, then the number of a place: name the digit that stood there.

    Tokens: 0 ... 9 are the digits, ``·`` is a blank, and ``#0`` ... ask for a place. The strings are
    ``length`` digits (drawn with replacement), ``blanks`` blanks, and one place; the target is its digit. The loss is
    the cross-entropy, the metric the error rate, 0.9 at chance; a model that knows which
    digits occurred, but not where, has an error rate of about 72%.

    Args:
        length: digits in a string.
        blanks: steps between the last digit and the question.
        train, validation, test: how many strings each split has.
        seed: decides every string.

    Raises:
        ValueError: a number out of range.

    References:
        The memory task of the repository Oidlichtnwoada/NeuralNetworkArena, whose table has an accuracy of 1.00 for a
        transformer and a unitary RNN, and 0.10, chance, for an LSTM and a neural circuit policy.

    Example:
        >>> task = IndexedRecall(length=3, blanks=2, train=5)
        >>> tokens, digit = task.dataset("train")[0]
        >>> " ".join(task.vocabulary[token] for token in tokens), int(digit)
        ('... · · #...', ...)
    """

    target_size = DIGITS

    def __init__(
        self,
        *,
        length: int = 10,
        blanks: int = 200,
        train: int = 20_000,
        validation: int = 1000,
        test: int = 2000,
        seed: int = 0,
    ):
        check_range(0, blanks=blanks)
        self.sizes: dict[Split, int] = {"train": train, "validation": validation, "test": test}
        check_range(1, length=length, **self.sizes)
        self.length, self.blanks, self.seed = length, blanks, seed
        places = (f"#{place}" for place in range(length))
        self.vocabulary = [*(str(digit) for digit in range(DIGITS)), "·", *places]

    def dataset(self, split: Split) -> Samples:
        """Tokens [samples, length + blanks + 1] and digits [samples]."""
        size = self.sizes[check_split(split)]
        rng = np.random.default_rng([self.seed, SPLITS.index(split)])
        digits = rng.integers(DIGITS, size=(size, self.length))
        place = rng.integers(self.length, size=size)
        tokens = np.full((size, self.length + self.blanks + 1), BLANK)
        tokens[:, : self.length] = digits
        tokens[:, -1] = place + BLANK + 1
        return Samples(torch.from_numpy(tokens), torch.from_numpy(digits[np.arange(size), place]))

    def examples(self, count: int) -> list[str]:
        """Strings and their answers, the blanks by their number."""
        samples, symbols = self.dataset("train"), self.vocabulary or []
        return [
            f"{' '.join(symbols[token] for token in tokens[: self.length])} ·x{self.blanks} "
            f"{symbols[tokens[-1]]} -> {digit}"
            for tokens, digit in zip(samples.inputs[:count].tolist(), samples.targets[:count].tolist(), strict=True)
        ]
