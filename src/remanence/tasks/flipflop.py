"""The flip-flop task."""

import numpy as np
from torch import Tensor

from remanence.checks import check_probability, check_range
from remanence.errors import UserError
from remanence.tasks.generated import Generated
from remanence.tasks.regression import Regression


class FlipFlop(Generated, Regression):
    """Hold the sign of the last pulse of each channel, at each step.

    In each of ``bits`` channels, each step brings a pulse with the given probability p, +1 or -1, both as likely, else
    0. The target at a step is the channel's last pulse up to it, and 0 before the first. Loss and metric are the
    squared error over steps and channels. A constant output of 0, the mean, has at step t the probability of an earlier
    pulse, 1 - (1 - p)^t; over T steps that is 1 - (1 - p) (1 - (1 - p)^T) / (p T), the level of chance.

    Args:
        bits: channels, in and out.
        length: steps T.
        pulse: probability p of a pulse, at each step in each channel.
        train, validation, test: how many sequences each split has.
        seed: decides every sequence.

    Raises:
        ValueError: a number out of range.

    References:
        Sussillo & Barak, "Opening the black box: low-dimensional dynamics in high-dimensional recurrent neural
        networks", 2013 (three bits). The 64 steps are those of Golub & Sussillo, "FixedPointFinder", 2018, where a
        pulse comes with probability 0.5, and always at the first step.

    Example:
        >>> print(FlipFlop(bits=1, length=12, pulse=0.3, seed=3).examples(1)[0])
        +···-++-···· -> ++++-++-----
    """

    stepwise = True

    def __init__(
        self,
        *,
        bits: int = 3,
        length: int = 64,
        pulse: float = 0.1,
        train: int = 20_000,
        validation: int = 1000,
        test: int = 2000,
        seed: int = 0,
    ):
        super().__init__(train=train, validation=validation, test=test, seed=seed)
        check_range(1, bits=bits, length=length)
        check_probability(pulse=pulse)
        if pulse == 0:
            raise UserError("pulse must be above 0: without pulses there is nothing to hold")
        self.length, self.pulse = length, pulse
        self.input_size = self.target_size = bits
        self.numbers = length * bits

    @property
    def chance(self) -> float:  # type: ignore[override]
        """The squared error of always saying 0."""
        none = 1 - self.pulse
        return 1 - none * (1 - none**self.length) / (self.pulse * self.length)

    def make(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pulses [samples, length, bits], and the last one at each step, of the same shape."""
        numbers = numbers.reshape(-1, self.length, self.target_size)
        pulses = np.where(numbers < self.pulse, np.where(numbers < self.pulse / 2, 1, -1), 0).astype(np.float32)
        steps = np.arange(self.length)[:, None]
        last = np.maximum.accumulate(np.where(pulses != 0, steps, 0), axis=1)
        return pulses, np.take_along_axis(pulses, last, axis=1)

    def examples(self, count: int) -> list[str]:
        """Pulses in, states out, a line for each channel."""
        batch = self.first(count)
        return [
            "\n".join(
                f"{format_signal(pulses)} -> {format_signal(held)}"
                for pulses, held in zip(signal.T, target.T, strict=True)
            )
            for signal, target in zip(batch.inputs, batch.targets, strict=True)
        ]


def format_signal(signal: Tensor) -> str:
    """Format -1, 0 and 1 as characters."""
    return "".join("-·+"[int(value) + 1] for value in signal.tolist())
