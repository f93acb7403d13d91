"""Flip-flop language modelling (Liu et al. 2023)."""

from functools import partial

import numpy as np

from remanence.checks import check_probability, check_range
from remanence.errors import UserError
from remanence.tasks.drawn import Drawn
from remanence.tasks.generated import Generated
from remanence.tasks.stepwise import StepwiseClassification
from remanence.tasks.task import IGNORED, Split

SYMBOLS = ["w", "r", "i", "0", "1"]  # in the order of the data that the authors released
WRITE, READ, IGNORE, ZERO = range(4)


class FlipFlopLanguage(Generated, StepwiseClassification):
    """Read a bit of memory: ``w1i0i1r`` -> 1, however much is to be ignored between writing and reading.

    A string is instructions, each followed by a bit: ``w`` writes its bit, ``i`` is to be ignored, and the bit behind
    ``r`` is the one that was written last. The first instruction writes, the last reads; each between is to be ignored
    with probability p, and else reads or writes, both as likely. Bits behind ``w`` and ``i`` are drawn uniformly. At
    each ``r`` the model says the token that follows; nothing else is asked. The loss is the cross-entropy, the metric
    the error rate; at chance, a guess between the bits, it is 0.5.

    Trained where 80% are to be ignored, recurrent networks read without error at any share; transformers, perfect at
    80%, now and then read wrongly in the test, where 98% (long gaps) or 10% (many distractors) are.

    Args:
        length: tokens, two for each instruction.
        ignored: probability p that an instruction is to be ignored.
        test_ignored: the same in the test; published: 0.98 and 0.1.
        train, validation, test: how many strings each split has.
        seed: decides every string.

    Raises:
        ValueError: a number out of range or an odd length.

    References:
        Liu, Ash, Goel, Krishnamurthy & Zhang, "Exposing attention glitches with flip-flop language modeling", 2023,
        arXiv:2306.00946, sections 3 and 4 (here the loss counts reads alone). Their released data have 1,600,000
        strings to train on.

    Example:
        >>> print(FlipFlopLanguage(length=16, ignored=0.4, seed=2).examples(1)[0])
        w1w0w0i0i1r0i1r0 -> 00
    """

    target_size = len(SYMBOLS)

    def __init__(
        self,
        *,
        length: int = 512,
        ignored: float = 0.8,
        test_ignored: float = 0.98,
        train: int = 100_000,
        validation: int = 1000,
        test: int = 10_000,
        seed: int = 0,
    ):
        super().__init__(train=train, validation=validation, test=test, seed=seed)
        check_range(4, length=length)
        if length % 2:
            raise UserError(f"length must be even, two tokens for each instruction; got {length}")
        check_probability(ignored=ignored, test_ignored=test_ignored)
        self.ignored, self.test_ignored = ignored, test_ignored
        self.numbers = length
        self.vocabulary = SYMBOLS

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The error rate of a guess between the bits."""
        return 0.5

    def dataset(self, split: Split) -> Drawn:
        """Tokens [samples, length], and at each ``r`` the bit's token, elsewhere -100, of the same shape."""
        ignored = self.test_ignored if split == "test" else self.ignored
        return self.draw_samples(split, partial(make_strings, ignored=ignored), self.numbers)

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and targets as in training."""
        return make_strings(numbers, self.ignored)

    def examples(self, count: int) -> list[str]:
        """Strings, and what is read in them."""
        batch = self.first(count)
        return [
            " -> ".join("".join(SYMBOLS[token] for token in part if token != IGNORED) for part in pair)
            for pair in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True)
        ]


def make_strings(numbers: np.ndarray, ignored: float) -> tuple[np.ndarray, np.ndarray]:
    """Make tokens and targets [samples, length] from these numbers, with this fraction to be ignored."""
    kind, bits = numbers[:, ::2], ZERO + (numbers[:, 1::2] < 0.5).astype(np.int8)
    reads, writes = kind >= (1 + ignored) / 2, (kind >= ignored) & (kind < (1 + ignored) / 2)
    writes[:, 0], reads[:, 0], reads[:, -1], writes[:, -1] = True, False, True, False
    written = np.maximum.accumulate(np.where(writes, np.arange(writes.shape[1]), 0), axis=1)
    bits = np.where(reads, np.take_along_axis(bits, written, axis=1), bits)
    tokens, targets = np.empty(numbers.shape, np.int8), np.full(numbers.shape, IGNORED, np.int8)
    tokens[:, ::2] = np.where(reads, READ, np.where(writes, WRITE, IGNORE))
    tokens[:, 1::2] = bits
    targets[:, ::2] = np.where(reads, bits, IGNORED)
    return tokens, targets
