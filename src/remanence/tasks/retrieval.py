"""Associative retrieval (Ba et al. 2016, section 4.1)."""

import string

import numpy as np
import torch

from remanence.checks import check_range
from remanence.errors import UserError
from remanence.tasks.classification import Classification
from remanence.tasks.samples import Samples
from remanence.tasks.task import SPLITS, Split, check_split

LETTERS = list(string.ascii_lowercase)
DIGITS = list(string.digits)
SYMBOLS = [*LETTERS, *DIGITS, "?"]


class Retrieval(Classification):
    """Remember which digit came with which letter: ``c9k8j3f1??c`` -> 9.

    Each string is ``pairs`` letters, all different, each followed by a digit, then ``??`` and one of the letters
    again; the target is its digit. A network that knows which digits came, but not with which letter, errs on about
    62% of the strings of 4 pairs: that is where networks without an associative memory stay for long.

    Args:
        pairs: letter-digit pairs K in a string, 1 to 26.
        train, validation, test: how many strings each split has.
        seed: decides every string.

    Raises:
        ValueError: a number of pairs out of range or a size below 1.

    References:
        Ba et al., "Using fast weights to attend to the recent past", 2016, arXiv:1610.06258, section 4.1.

    Example:
        >>> task = Retrieval(pairs=2, train=10)
        >>> tokens, digit = task.dataset("train")[0]
        >>> "".join(task.vocabulary[token] for token in tokens), int(digit)
        ('...', ...)
    """

    target_size = len(DIGITS)

    def __init__(
        self, *, pairs: int = 4, train: int = 100_000, validation: int = 10_000, test: int = 20_000, seed: int = 0
    ):
        if not 1 <= pairs <= len(LETTERS):
            raise UserError(f"pairs must be between 1 and {len(LETTERS)}, since no letter occurs twice, got {pairs}")
        self.vocabulary = SYMBOLS
        self.pairs = pairs
        self.seed = seed
        self.sizes: dict[Split, int] = {"train": train, "validation": validation, "test": test}
        check_range(1, **self.sizes)

    def dataset(self, split: Split) -> Samples:
        """Strings as tokens [samples, 2 pairs + 3] and digits [samples]."""
        size = self.sizes[check_split(split)]
        rng = np.random.default_rng([self.seed, SPLITS.index(split)])
        keys = rng.random((size, len(LETTERS))).argsort(1)[:, : self.pairs]  # without replacement
        values = rng.integers(len(DIGITS), size=(size, self.pairs))
        asked = rng.integers(self.pairs, size=size)
        tokens = np.full((size, 2 * self.pairs + 3), SYMBOLS.index("?"))
        tokens[:, 0:-3:2] = keys
        tokens[:, 1:-3:2] = values + len(LETTERS)
        rows = np.arange(size)
        tokens[:, -1] = keys[rows, asked]
        return Samples(torch.from_numpy(tokens), torch.from_numpy(values[rows, asked]))

    def examples(self, count: int) -> list[str]:
        """Strings and their answers."""
        samples = self.dataset("train")
        return [
            f"{''.join(SYMBOLS[token] for token in tokens)} -> {digit}"
            for tokens, digit in zip(samples.inputs[:count].tolist(), samples.targets[:count].tolist(), strict=True)
        ]
