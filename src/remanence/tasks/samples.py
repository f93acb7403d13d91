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
    """What a model and its loss get.

    Attributes:
        inputs: [batch, time] tokens or [batch, time, channels] signals; of pairs, [batch, 2, time, ...].
        targets: [batch], or one for each position [batch, time, ...].
        mask: which positions are real, [batch, time] or [batch, 2, time]; None: all.
        timespans: how long each step lasts, [batch, time]; None: all the same.
        reset: before which steps an episode begins anew, [batch, time]; None: there is one episode.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None
    timespans: Tensor | None = None
    reset: Tensor | None = None


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Inputs of one length, and targets, in memory or mapped from disk.

    Args:
        inputs: [samples, time] tokens or [samples, time, channels] signals.
        targets: [samples], or one for each position [samples, time, ...].
        scale: inputs are integers that become a signal when multiplied with it; default: they are what they are.
        order: in which positions are read, [time]; default: as they come.
        rows: which of them are the samples, [samples]; default: all.
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
            raise UserError(f"as many targets as inputs are needed, got {len(targets)} and {len(inputs)}")
        self.inputs, self.targets, self.scale, self.order, self.rows = inputs, targets, scale, order, rows

    @property
    def longest(self) -> int:
        """Positions of the longest sequence."""
        return self.inputs.shape[1]

    def __len__(self) -> int:
        return len(self.inputs if self.rows is None else self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        batch = self.batch([index])
        return batch.inputs[0], batch.targets[0]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the samples at these indices.

        Args:
            indices: of the samples.
        """
        chosen = torch.tensor(indices) if self.rows is None else self.rows[torch.tensor(indices)]
        inputs = self.inputs[chosen] if self.order is None else self.inputs[chosen][:, self.order]
        inputs = widen(inputs) if self.scale is None else inputs * self.scale
        return Batch(inputs, widen(self.targets[chosen]))


class Sequences(Dataset[tuple[Tensor, Tensor]]):
    """Inputs of different lengths, end to end in one array; a batch is padded with zeros to its longest.

    Args:
        values: [positions] tokens or [positions, channels] signals, in memory or mapped from disk.
        starts: where each sequence starts, and where the last one ends, [sequences + 1].
        targets: [samples].
        shift: is added to each token, so that 0 stays free for padding.
        limit: longer sequences are cut behind so many positions; default: never.
        pairs: two sequences in a row make one sample.
        timespans: how long each step lasts, [positions]; steps of the padding last 1.
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
        """Positions of the longest sequence."""
        return int(self.lengths.max(initial=0))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        batch = self.batch([index])
        return batch.inputs[0], batch.targets[0]

    def select(self, places: np.ndarray) -> "Sequences":
        """Return a subset as a data set.

        Args:
            places: indices of its samples.
        """
        part = copy.copy(self)
        rows = self._rows(places)
        part.starts, part.lengths, part.targets = self.starts[rows], self.lengths[rows], self.targets[places]
        return part

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the samples at these indices, padded, with the mask of real positions.

        Args:
            indices: of the samples.
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
    """Pieces of one long sequence of tokens; the target at each position is the next token.

    Args:
        tokens: [positions], in memory or mapped from disk.
        length: of a piece; each starts where the one before it ended.
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
            indices: of the pieces.
        """
        places = np.asarray(indices)[:, None] * self.longest + np.arange(self.longest + 1)
        tokens = widen(torch.from_numpy(self.tokens[places]))
        return Batch(tokens[:, :-1], tokens[:, 1:])


def widen(values: Tensor) -> Tensor:
    """Convert integers of any size to torch's indices; other numbers and truth values are left unchanged."""
    return values if values.is_floating_point() or values.dtype == torch.bool else values.long()
