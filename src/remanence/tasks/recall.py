"""Recall of one symbol after noise."""

import numpy as np
import torch

from remanence.checks import check_range
from remanence.errors import UserError
from remanence.tasks.classification import Classification
from remanence.tasks.samples import Samples
from remanence.tasks.task import SPLITS, Split, check_split


class Recall(Classification):
    """See one symbol, then noise, then name the symbol: nothing but memory is asked for.

    The input has a channel for each symbol. For the first ``shown`` steps the channel of the symbol is raised by 1; in
    these and in the ``delay`` steps that follow, every channel is noise, x ~ N(0, ``noise``²). The target is the
    symbol, asked for after the last step. The loss is the cross-entropy, the metric the error rate; at chance it is
    1 - 1 / ``symbols``. A network at chance at one delay and at zero at a shorter one forgets in between, or cannot
    learn to remember: every step of the delay weakens the gradient or adds its noise.

    Args:
        delay: steps of noise D between symbol and question.
        symbols: classes.
        noise: its standard deviation.
        shown: steps that the symbol lasts.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        The latching problem of Bengio, Simard & Frasconi 1994, Learning long-term dependencies with gradient descent is
        difficult, section II, with more than two classes.

    Example:
        >>> task = Recall(delay=20, symbols=3, train=10)
        >>> signal, symbol = task.dataset("train")[0]
        >>> signal.shape, bool(signal[:10].mean(0).argmax() == symbol)
        (torch.Size([30, 3]), True)
    """

    def __init__(
        self,
        *,
        delay: int = 100,
        symbols: int = 4,
        noise: float = 0.1,
        shown: int = 10,
        train: int = 2000,
        validation: int = 200,
        test: int = 1000,
        seed: int = 0,
    ):
        if symbols < 2:
            raise UserError(f"symbols must be at least 2, got {symbols}")
        if delay < 0 or noise < 0:
            raise UserError(f"delay and noise must not be negative, got delay {delay} and noise {noise}")
        self.sizes: dict[Split, int] = {"train": train, "validation": validation, "test": test}
        check_range(1, shown=shown, **self.sizes)
        self.delay, self.shown, self.noise, self.seed = delay, shown, noise, seed
        self.input_size = self.target_size = symbols

    def dataset(self, split: Split) -> Samples:
        """Signals [samples, shown + delay, symbols] and symbols [samples]."""
        rng = np.random.default_rng([self.seed, SPLITS.index(check_split(split))])
        return self.draw(self.sizes[split], rng)

    def draw(self, count: int, rng: np.random.Generator) -> Samples:
        """Draw sequences beyond those of the splits.

        For training on more of them than fit into memory, or than should be memorised.

        Args:
            count: the number of samples.
            rng: the source of randomness.
        """
        symbol = rng.integers(self.target_size, size=count)
        signal = rng.standard_normal((count, self.shown + self.delay, self.target_size), dtype=np.float32)
        signal *= self.noise
        signal[np.arange(count), : self.shown, symbol] += 1
        return Samples(torch.from_numpy(signal), torch.from_numpy(symbol))

    def examples(self, count: int) -> list[str]:
        """The mean over the steps that show the symbol, channel by channel, and the symbol."""
        samples = self.dataset("train")
        means = samples.inputs[:count, : self.shown].mean(1).tolist()
        steps = f"for {self.shown} steps, then {self.delay} of noise"
        return [
            f"{' '.join(f'{channel:+.2f}' for channel in mean)} {steps} -> {symbol}"
            for mean, symbol in zip(means, samples.targets[:count].tolist(), strict=True)
        ]
