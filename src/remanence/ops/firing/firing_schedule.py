"""The order of firing and the nonlinearity, which stay the same from call to call."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from remanence.wiring import Wiring, levels

Pointwise: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Schedule:
    """The order and the nonlinearity with which a network fires.

    Attributes:
        wiring: which neurons are connected.
        order: numbers of the neurons in firing order, [neurons].
        function: the nonlinearity f, a pointwise function.
        ticks: number of firings of each neuron in a time step.
        keep: fraction of its value that a neuron keeps in a firing, 1 - leak.
    """

    wiring: Wiring
    order: Int64[np.ndarray, " neurons"]
    function: Pointwise
    ticks: int
    keep: float

    @cached_property
    def levels(self) -> list[list[int]]:
        """Neurons that may fire together, first level first."""
        return [level.tolist() for level in levels(self.wiring, self.order)]

    @cached_property
    def edges(self) -> Int64[np.ndarray, "edges 2"]:
        """Pairs (receiver, sender), sorted by receiver, then by sender: the order of the weights."""
        return self.wiring.edges

    def matrix(self, weight: Tensor) -> Tensor:
        """Return weights as [receivers, senders], 0 where there is no edge.

        Args:
            weight: one weight for each edge, or a matrix [receivers, senders].
        """
        if weight.ndim == 2:
            return torch.where(torch.eye(len(weight), dtype=torch.bool, device=weight.device), 0, weight)
        receiver, sender = torch.from_numpy(self.edges).to(weight.device).unbind(1)
        return weight.new_zeros(self.wiring.neurons, self.wiring.neurons).index_put((receiver, sender), weight)

    @cached_property
    def rank(self) -> np.ndarray:
        """The position of each neuron in the order."""
        return np.argsort(self.order)

    @cached_property
    def fed_forward(self) -> Tensor:
        """Whether the sender fires before the receiver, which then reads its new value: [receivers, senders]."""
        return torch.from_numpy(self.rank[:, None] > self.rank)

    @cached_property
    def senders(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Edges sorted by receiver: where those of each neuron start; for each edge its sender, 1 if the receiver reads
        the new value of that or 0 if it reads the value of the previous firing, and the edge itself.
        """
        receiver, sender = self.edges.T
        new = self.rank[receiver] > self.rank[sender]
        return _find_starts(receiver, len(self.order)), _to_int64(sender), _to_int64(new), torch.arange(len(sender))

    @cached_property
    def receivers(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Edges sorted by sender: where those of each neuron start; for each edge its receiver, 0 if that reads the
        value in the same firing or 1 if it does in the next, and the edge itself.
        """
        receiver, sender = self.edges.T
        edge = np.argsort(sender, kind="stable")
        receiver, sender = receiver[edge], sender[edge]
        late = self.rank[receiver] < self.rank[sender]
        return _find_starts(sender, len(self.order)), _to_int64(receiver), _to_int64(late), _to_int64(edge)

    def weight_gradient(self, values: Tensor, grads: Tensor) -> Tensor:
        """Compute the gradients of a matrix of weights: sums over time and batch of gradient times the value read."""
        batch = grads.shape[2]
        flat, heard = grads.flatten(1), values.flatten(1)
        new, old = flat @ heard[:, batch:].T, flat @ heard[:, :-batch].T
        return torch.where(self.fed_forward.to(grads.device), new, old).fill_diagonal_(0)

    def gradient_of_old(self, weight: Tensor, grads: Tensor, values: Tensor) -> Tensor:
        """Compute the gradients of the weights of edges that read the value of the previous firing.

        Args:
            weight: weight of each edge, [edges], or a matrix [receivers, senders].
            grads: gradients of f's arguments, [neurons, firings].
            values: values that are read, [neurons, firings].
        """
        if weight.ndim == 2:
            return torch.where(self.fed_forward.to(grads.device), 0, grads @ values.T).fill_diagonal_(0)
        receiver, sender = torch.from_numpy(self.edges).to(weight.device).unbind(1)
        old = (self.senders[2] == 0).to(weight.device)
        return torch.where(old, (grads @ values.T)[receiver, sender], 0)

    def state_gradient(self, weight: Tensor, grads: Tensor) -> Tensor:
        """Compute the gradients of the values before the first firing, from those of f's arguments there."""
        if weight.ndim == 2:
            old = torch.where(self.fed_forward.to(weight.device), 0, self.matrix(weight))
            return torch.addmm(grads, old.T, grads, beta=self.keep)
        receiver, sender = self.edges[self.senders[2].numpy() == 0].T
        receiver, sender = torch.from_numpy(receiver).to(weight.device), torch.from_numpy(sender).to(weight.device)
        old = weight[(self.senders[2] == 0).to(weight.device), None]
        return (self.keep * grads).index_add(0, sender, old * grads[receiver])


def _find_starts(sorted_neurons: np.ndarray, neurons: int) -> Tensor:
    return _to_int64(np.searchsorted(sorted_neurons, np.arange(neurons + 1)))


def _to_int64(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
