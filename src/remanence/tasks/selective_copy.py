"""Selective copying (Gu & Dao 2023)."""

import numpy as np

from remanence.checks import check_range
from remanence.tasks.choices import draw_places
from remanence.tasks.generated import Generated
from remanence.tasks.stepwise import StepwiseClassification, format_answers
from remanence.tasks.task import IGNORED


class SelectiveCopy(Generated, StepwiseClassification):
    """Pick sixteen symbols out of 4,096 steps, wherever they stand, and say them in their order.

    The input is ``stretch`` steps of noise ``·`` with ``length`` symbols strewn in among them, and ``length`` markers
    ``>``; at the j-th marker the model says the j-th symbol, before that nothing. The distances between the symbols
    differ from sample to sample, so a filter that does not change with time cannot pick them out. The loss is the
    cross-entropy, the metric the error rate, at chance 1 - 1 / ``symbols``.

    :class:`Denoise` is the same with one marker, and asks for the noise too.

    Args:
        stretch: steps that hold the symbols.
        symbols: how many different ones; with noise and marker published as a vocabulary of 16.
        length: symbols to copy.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        Gu & Dao, "Mamba: linear-time sequence modeling with selective state spaces", 2023, arXiv:2312.00752, section
        4.1.1 and appendix E.1 (length 4,096, vocabulary 16, 16 symbols), after Jing et al. 2017.

    Example:
        >>> print(SelectiveCopy(stretch=8, length=2, symbols=4, seed=1).examples(1)[0])
        · · · · 1 · · 2 >[1] >[2]
    """

    def __init__(
        self,
        *,
        stretch: int = 4096,
        symbols: int = 14,
        length: int = 16,
        train: int = 100_000,
        validation: int = 1000,
        test: int = 1000,
        seed: int = 0,
    ):
        super().__init__(train=train, validation=validation, test=test, seed=seed)
        check_range(1, length=length)
        check_range(length, stretch=stretch)
        check_range(2, symbols=symbols)
        self.stretch, self.length = stretch, length
        self.numbers = length + stretch
        self.vocabulary = [*(str(symbol) for symbol in range(symbols)), "·", ">"]
        self.target_size = symbols

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens [samples, stretch + length], and at each marker the symbol, elsewhere -100."""
        noise, marker = self.target_size, self.target_size + 1
        symbols = (numbers[:, : self.length] * self.target_size).astype(np.int64)
        tokens = np.full((len(numbers), self.stretch + self.length), noise)
        targets = np.full_like(tokens, IGNORED)
        np.put_along_axis(tokens, draw_places(numbers[:, self.length :], self.length), symbols, axis=1)
        tokens[:, self.stretch :] = marker
        targets[:, self.stretch :] = symbols
        return tokens, targets

    def examples(self, count: int) -> list[str]:
        """Return sequences with each symbol in brackets after the marker that asks for it."""
        return format_answers(self, count)
