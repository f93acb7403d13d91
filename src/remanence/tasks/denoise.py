"""The denoising task."""

import numpy as np

from remanence.checks import check_range
from remanence.tasks.choices import draw_places
from remanence.tasks.copying import Copy


class Denoise(Copy):
    """Pick ten symbols out of a long noisy stretch, then say them in their order: what is to be kept, what forgotten?

    The input is ``stretch`` steps of noise ``·`` with ``length`` symbols strewn in among them, a marker ``>``, and
    ``length`` steps more of noise. The target is noise at each step up to and with the marker, then the symbols. Loss,
    metric and level of chance are those of :class:`Copy`, here 10 ln 8 / (T + 11) for 10 of 8 symbols in T steps.

    Args:
        stretch: steps T that hold the symbols.
        symbols: how many different ones.
        length: symbols to keep.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        Jing et al., "Gated orthogonal recurrent units: on learning to forget", 2017, arXiv:1706.02761.

    Example:
        >>> print(Denoise(stretch=12, length=2, train=1, seed=1).examples(1)[0])
        ·x4 2 ·x4 5 ·x2 > ·x2 -> ·x13 2 5
    """

    def __init__(
        self,
        *,
        stretch: int = 100,
        symbols: int = 8,
        length: int = 10,
        train: int = 100_000,
        validation: int = 1000,
        test: int = 10_000,
        seed: int = 0,
    ):
        check_range(1, length=length)
        check_range(length, stretch=stretch)
        delay = stretch + 1 - length  # the marker stands behind the stretch
        super().__init__(
            delay=delay, symbols=symbols, length=length, train=train, validation=validation, test=test, seed=seed
        )
        self.stretch = stretch
        self.numbers = length + stretch

    def choose_places(self, numbers: np.ndarray) -> np.ndarray:
        """Choose the steps at which the symbols come, [samples, length], in order."""
        return draw_places(numbers[:, self.length :], self.length)
