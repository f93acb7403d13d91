"""The copying task."""

from itertools import groupby
from math import log

import numpy as np
from torch import Tensor

from remanence.checks import check_range
from remanence.tasks.generated import Generated
from remanence.tasks.stepwise import StepwiseClassification


class Copy(Generated, StepwiseClassification):
    """Remember ten symbols over a long blank stretch, then output them in order.

    The input is ``length`` symbols, ``delay`` - 1 blanks, a marker ``>``, and ``length`` blanks: T + 20 steps for a
    delay T and 10 symbols. The target is blank at each step up to and with the marker, then the symbols. Loss and
    metric are the cross-entropy over all steps, as published. A model that knows when to answer but not what
    predicts the blanks and guesses the symbols; this gives 10 ln 8 / (T + 20), the level of chance. :meth:`error_rate`
    is the fraction of wrong symbols.

    Samples are generated on demand, so a delay of 10,000 takes no more memory than one of 10.

    Args:
        delay: steps T between the last symbol and the first answer.
        symbols: how many different ones.
        length: symbols to keep.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        Arjovsky, Shah & Bengio, "Unitary evolution recurrent neural networks", 2016, arXiv:1511.06464, section 4.1,
        after Hochreiter & Schmidhuber, "Long short-term memory", 1997.

    Example:
        >>> task = Copy(delay=3, length=2, train=10)
        >>> tokens, target = task.dataset("train")[0]
        >>> " ".join(task.vocabulary[token] for token in tokens)
        '... ... · · > · ·'
    """

    metric = "cross-entropy"

    def __init__(
        self,
        *,
        delay: int = 100,
        symbols: int = 8,
        length: int = 10,
        train: int = 100_000,
        validation: int = 1000,
        test: int = 10_000,
        seed: int = 0,
    ):
        super().__init__(train=train, validation=validation, test=test, seed=seed)
        check_range(1, delay=delay, length=length)
        check_range(2, symbols=symbols)
        self.delay, self.symbols, self.length = delay, symbols, length
        self.numbers = length
        self.vocabulary = [*(str(symbol) for symbol in range(symbols)), "·", ">"]
        self.target_size = symbols + 1

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The cross-entropy of predicting the blanks and guessing the symbols, in nats."""
        return self.length * log(self.symbols) / (self.delay + 2 * self.length)

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [samples, delay + 2 length], and what to say at each step, of the same shape."""
        said = (numbers[:, : self.length] * self.symbols).astype(np.int64)
        blank, marker = self.symbols, self.symbols + 1
        inputs = np.full((len(numbers), self.delay + 2 * self.length), blank)
        targets = inputs.copy()
        np.put_along_axis(inputs, self.choose_places(numbers), said, axis=1)
        inputs[:, self.length + self.delay - 1] = marker
        targets[:, -self.length :] = said
        return inputs, targets

    def choose_places(self, numbers: np.ndarray) -> np.ndarray:
        """The steps at which the symbols come, [samples, length]: the first ones."""
        return np.broadcast_to(np.arange(self.length), (len(numbers), self.length))

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """The same as the loss."""
        return self.loss(output, target)

    def error_rate(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the fraction of wrong symbols; a guess has 1 - 1 / ``symbols``."""
        asked = target != self.symbols
        return (output.argmax(-1) != target)[asked].float().mean()

    def examples(self, count: int) -> list[str]:
        """Sequences and what to say, blanks by their number."""
        batch = self.first(count)
        return [
            f"{self._format_tokens(tokens)} -> {self._format_tokens(target)}"
            for tokens, target in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True)
        ]

    def _format_tokens(self, tokens: list[int]) -> str:
        words = []
        for token, run in groupby(tokens):
            symbol, times = (self.vocabulary or [])[token], len(list(run))
            words += [symbol] * times if token < self.symbols else [symbol + f"x{times}" * (times > 1)]
        return " ".join(words)
