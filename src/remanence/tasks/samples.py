"""Data sets whose batches are sliced at once; their arrays may be mapped from disk."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from remanence.errors import UserError


class Batch(NamedTuple):
    """The inputs of a model and the targets of its loss.

    Attributes:
        inputs: tokens [batch, time] or signals [batch, time, channels]; pairs are [batch, 2, time, ...].
        targets: one for each sample [batch], or one for each position [batch, time, ...].
        mask: which positions are real, [batch, time] or [batch, 2, time]; None: all.
        timespans: the duration of each step, [batch, time]; None: all steps have the same duration.
        reset: before which steps a new episode begins, [batch, time]; None: there is one episode.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None
    timespans: Tensor | None = None
    reset: Tensor | None = None


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Inputs of one length, and targets, in memory or mapped from disk.

    Args:
        inputs: tokens [samples, time] or signals [samples, time, channels].
        targets: one for each sample [samples], or one for each position [samples, time, ...].
        scale: a factor that converts integer inputs to a signal; default: inputs are not converted.
        order: the order of positions, [time]; default: unchanged.
        rows: the indices of the rows to use, [samples]; default: all rows.

    Raises:
        ValueError: the numbers of inputs and targets differ.

    Example:
        >>> data = Samples(torch.arange(12).reshape(4, 3), torch.tensor([0, 1, 0, 1]))
        >>> data.batch([0, 2]).inputs
        tensor([[0, 1, 2],
                [6, 7, 8]])
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        scale: float | None = None,
        order: Tensor | None = None,
        rows: Tensor | None = None,
    ):
        if len(inputs) != len(targets):
            raise UserError(f"expected as many targets as inputs, got {len(targets)} and {len(inputs)}")
        self.inputs, self.targets, self.scale, self.order, self.rows = inputs, targets, scale, order, rows

    @property
    def longest(self) -> int:
        """The length of the longest sequence."""
        return self.inputs.shape[1]

    def __len__(self) -> int:
        return len(self.inputs if self.rows is None else self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        batch = self.batch([index])
        return batch.inputs[0], batch.targets[0]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the samples at these indices.

        Args:
            indices: the indices of the samples.

        Returns:
            The batch.
        """
        chosen = torch.tensor(indices) if self.rows is None else self.rows[torch.tensor(indices)]
        inputs = self.inputs[chosen] if self.order is None else self.inputs[chosen][:, self.order]
        inputs = widen(inputs) if self.scale is None else inputs * self.scale
        return Batch(inputs, widen(self.targets[chosen]))


class Sequences(Dataset[tuple[Tensor, Tensor]]):
    """Inputs of different lengths, concatenated in one array; batches are padded with zeros to their longest sequence.

    Args:
        values: tokens [positions] or signals [positions, channels], in memory or mapped from disk.
        starts: the position at which each sequence starts, and the end of the last one, [sequences + 1].
        targets: one for each sample, [samples].
        shift: a number that is added to each token, so that 0 is only padding; default: 0.
        limit: the length to which longer sequences are truncated; default: none are.
        pairs: whether each sample consists of two consecutive sequences; default: False.
        timespans: the duration of each step, [positions]; padded steps have a duration of 1. Default: all the same.

    Raises:
        ValueError: the numbers of sequences and targets do not match.

    Example:
        >>> data = Sequences(np.array([5, 6, 7, 8, 9]), np.array([0, 2, 5]), np.array([0, 1]))
        >>> data.batch([0, 1]).inputs
        tensor([[5, 6, 0],
                [7, 8, 9]])
    """

    def __init__(
        self,
        values: np.ndarray,
        starts: np.ndarray,
        targets: np.ndarray,
        *,
        shift: int = 0,
        limit: int | None = None,
        pairs: bool = False,
        timespans: np.ndarray | None = None,
    ):
        if len(starts) - 1 != len(targets) * (1 + pairs):
            raise UserError(f"{len(targets)} targets do not fit {len(starts) - 1} sequences{' in pairs' * pairs}")
        self.values, self.targets, self.timespans = values, torch.from_numpy(targets), timespans
        self.shift, self.pairs = shift, pairs
        self.starts = np.asarray(starts[:-1])
        lengths = np.diff(starts)
        self.lengths = lengths if limit is None else np.minimum(lengths, limit)

    @property
    def longest(self) -> int:
        """The length of the longest sequence."""
        return int(self.lengths.max(initial=0))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        batch = self.batch([index])
        return batch.inputs[0], batch.targets[0]

    def select(self, places: np.ndarray) -> "Sequences":
        """Return a subset as a data set.

        Args:
            places: the indices of its samples.

        Returns:
            The data set; it shares the arrays of this one.
        """
        part = copy.copy(self)
        rows = self._rows(places)
        part.starts, part.lengths, part.targets = self.starts[rows], self.lengths[rows], self.targets[places]
        return part

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the samples at these indices, padded, with the mask of real positions.

        Args:
            indices: the indices of the samples.

        Returns:
            The batch.
        """
        places = np.asarray(indices)
        rows = self._rows(places)
        mask = torch.arange(int(self.lengths[rows].max())) < torch.from_numpy(self.lengths[rows])[:, None]
        inputs = widen(self._pad(self.values, rows))
        if self.shift:
            inputs = (inputs + self.shift) * mask
        times = None if self.timespans is None else self._pad(self.timespans, rows, 1.0)
        if self.pairs:
            inputs, mask = inputs.unflatten(0, (-1, 2)), mask.unflatten(0, (-1, 2))
        return Batch(inputs, widen(self.targets[torch.from_numpy(places)]), mask, times)

    def _rows(self, places: np.ndarray) -> np.ndarray:
        return np.stack([2 * places, 2 * places + 1], 1).reshape(-1) if self.pairs else places

    def _pad(self, values: np.ndarray, rows: np.ndarray, padding: float = 0.0) -> Tensor:
        shape = (len(rows), int(self.lengths[rows].max()), *values.shape[1:])
        padded = np.full(shape, padding, values.dtype)
        for line, start, length in zip(padded, self.starts[rows], self.lengths[rows], strict=True):
            line[:length] = values[start : start + length]
        return torch.from_numpy(padded)


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """Consecutive pieces of one long sequence of tokens; the target at each position is the next token.

    Args:
        tokens: the tokens, [positions], in memory or mapped from disk.
        length: the length of a piece.

    Example:
        >>> data = Windows(np.arange(7), length=3)
        >>> len(data), data.batch([1]).inputs, data.batch([1]).targets
        (2, tensor([[3, 4, 5]]), tensor([[4, 5, 6]]))
    """

    def __init__(self, tokens: np.ndarray, length: int):
        self.tokens, self.longest = tokens, length

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1) // self.longest)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        batch = self.batch([index])
        return batch.inputs[0], batch.targets[0]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the pieces at these indices.

        Args:
            indices: the indices of the pieces.

        Returns:
            The batch.
        """
        places = np.asarray(indices)[:, None] * self.longest + np.arange(self.longest + 1)
        tokens = widen(torch.from_numpy(self.tokens[places]))
        return Batch(tokens[:, :-1], tokens[:, 1:])


def widen(values: Tensor) -> Tensor:
    """Convert integers of any size to torch's indices; other numbers and truth values are left unchanged."""
    return values if values.is_floating_point() or values.dtype == torch.bool else values.long()
