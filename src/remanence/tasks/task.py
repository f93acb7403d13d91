"""The interface of all tasks."""

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor

from remanence.data import Source
from remanence.errors import UserError
from remanence.tasks.drawn import Drawn
from remanence.tasks.samples import Batch, Samples, Sequences, Windows

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
IGNORED = -100  # the target where nothing is asked; PyTorch's own default


class Task(ABC):
    """A test of memory: data in three splits, a loss, and a metric with its level at chance.

    Attributes:
        vocabulary: the symbols of a token task, the index being the token (and the class, where the task is stepwise);
            None for signals.
        input_size: channels of a signal; None for tokens.
        target_size: size of the model's output.
        metric: what :meth:`measure` returns, lower being better.
        chance: the metric of a guess that has not seen the input.
        stepwise: there is a target for each position, and only what came up to it may be seen; else one a sequence.
            Where the target is -100, nothing is asked.
        paired: an input is two sequences, compared by one model.
        timed: each step has its own duration (``timespans``), for layers that live in continuous time.
        episodic: a batch says where an episode begins anew (``reset``), and a memory starts from its initial state.
        picture: rows and columns, where the positions are the pixels of an image row by row; else None.
        source: what the task reads besides what it makes itself; None if it needs nothing.
    """

    vocabulary: list[str] | None = None
    input_size: int | None = None
    target_size: int
    metric: str
    chance: float
    stepwise: bool = False
    paired: bool = False
    timed: bool = False
    episodic: bool = False
    picture: tuple[int, int] | None = None
    source: Source | None = None

    @abstractmethod
    def dataset(self, split: Split) -> Samples | Sequences | Windows | Drawn:
        """Return the samples of one split; the same seed gives the same samples.

        Args:
            split: ``"train"``, ``"validation"`` or ``"test"``.
        """

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the training loss, averaged over the batch.

        Args:
            output: the output of the model.
            target: the target of the batch.
        """

    @abstractmethod
    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the metric, averaged over the batch.

        Args:
            output: the output of the model.
            target: the target of the batch.
        """

    def first(self, count: int) -> Batch:
        """Return the first training samples.

        Args:
            count: how many at most.
        """
        samples = self.dataset("train")
        return samples.batch(range(min(count, len(samples))))

    @abstractmethod
    def examples(self, count: int) -> list[str]:
        """Format the first training samples as text.

        Args:
            count: the number of examples.
        """


def check_split(split: str) -> Split:
    """Return ``split`` if there is such a one, else raise a ``ValueError``."""
    for known in SPLITS:
        if split == known:
            return known
    raise UserError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
