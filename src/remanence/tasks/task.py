"""The contract that every task keeps."""

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor
from torch.utils.data import Dataset

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Inputs and targets in memory.

    Args:
        inputs: [samples, time] tokens or [samples, time, channels] signals.
        targets: [samples].
    """

    def __init__(self, inputs: Tensor, targets: Tensor):
        if len(inputs) != len(targets):
            raise ValueError(f"as many targets as inputs are needed, got {len(targets)} and {len(inputs)}")
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]


class Task(ABC):
    """A test of memory: data in three splits, a loss, and a metric with its level at chance.

    Attributes:
        vocabulary: the symbols of a token task, the index being the token; None for signals.
        input_size: channels of a signal; None for tokens.
        target_size: size of the model's output.
        metric: what :meth:`measure` returns, lower being better.
        chance: the metric of a guess that has not seen the input.
    """

    vocabulary: list[str] | None = None
    input_size: int | None = None
    target_size: int
    metric: str
    chance: float

    @abstractmethod
    def dataset(self, split: Split) -> Samples:
        """The samples of one split, the same for the same seed."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """What training minimises, the mean over the batch."""

    @abstractmethod
    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """The metric, the mean over the batch."""

    @abstractmethod
    def examples(self, count: int) -> list[str]:
        """The first ``count`` training samples, as text."""


def checked_split(split: str) -> Split:
    """Return ``split`` if there is such a one, else raise a ``ValueError``."""
    for known in SPLITS:
        if split == known:
            return known
    raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
