"""The adding problem."""

import numpy as np

from remanence.checks import check_range
from remanence.tasks.generated import Generated
from remanence.tasks.regression import Regression


class Adding(Generated, Regression):
    """Add the two marked numbers of a long sequence.

    Two channels: numbers drawn uniformly from [0, 1), and a marker that is 1 at two steps, one in each half, and else
    0. The target, after the last step, is the sum of the two marked numbers. Loss and metric are the squared error. A
    constant output of 1, the mean, has the variance of the sum, 2 / 12 = 1/6: the level of chance.

    Args:
        length: steps T.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        Hochreiter & Schmidhuber, "Long short-term memory", 1997, section 5.4 (numbers from [-1, 1], length random); in
        this form Le, Jaitly & Hinton, "A simple way to initialize recurrent networks of rectified linear units", 2015,
        arXiv:1504.00941, section 4.1; a marker in each half: Arjovsky et al. 2016, arXiv:1511.06464, section 4.2.

    Example:
        >>> signal, total = Adding(length=20).dataset("train")[0]
        >>> signal.shape, torch.allclose((signal[:, 0] * signal[:, 1]).sum(), total)
        (torch.Size([20, 2]), True)
    """

    input_size = 2
    target_size = 1
    chance = 1 / 6

    def __init__(
        self, *, length: int = 100, train: int = 100_000, validation: int = 1000, test: int = 10_000, seed: int = 0
    ):
        super().__init__(train=train, validation=validation, test=test, seed=seed)
        check_range(2, length=length)
        self.length = length
        self.numbers = length + 2

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Signals [samples, length, 2] of numbers and markers, and sums [samples, 1]."""
        half = self.length // 2
        first = (numbers[:, -2] * half).astype(np.int64)
        second = half + (numbers[:, -1] * (self.length - half)).astype(np.int64)
        marked = np.stack([first, second], 1)
        signal = np.zeros((len(numbers), self.length, 2), np.float32)
        signal[:, :, 0] = numbers[:, :-2]
        np.put_along_axis(signal[:, :, 1], marked, 1, axis=1)
        return signal, np.take_along_axis(signal[:, :, 0], marked, axis=1).sum(1, keepdims=True)

    def examples(self, count: int) -> list[str]:
        """The marked numbers, at which steps they stand, and their sum."""
        batch = self.first(count)
        return [
            " + ".join(f"{signal[step, 0]:.3f} (step {step})" for step in signal[:, 1].nonzero().flatten().tolist())
            + f" among {self.length} -> {float(total):.3f}"
            for signal, total in zip(batch.inputs, batch.targets, strict=True)
        ]
