"""What stays the same from call to call: who fires when, and how."""

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
    """The firing of a network, but for its weights.

    Attributes:
        wiring: who hears whom.
        order: the neuron that fires first, second, ...
        function: f.
        ticks: firings of each neuron in a time step.
        keep: the share of its value that a neuron keeps, 1 - leak.
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
        """Weights as [receivers, senders], 0 where there is no edge: from one for each edge, or from such a matrix."""
        if weight.ndim == 2:
            return torch.where(torch.eye(len(weight), dtype=torch.bool, device=weight.device), 0, weight)
        receiver, sender = torch.from_numpy(self.edges).to(weight.device).unbind(1)
        return weight.new_zeros(self.wiring.neurons, self.wiring.neurons).index_put((receiver, sender), weight)

    @cached_property
    def rank(self) -> np.ndarray:
        """The place of each neuron in the order."""
        return np.argsort(self.order)

    @cached_property
    def fed_forward(self) -> Tensor:
        """Whether the sender fires before the receiver, so that its new value is heard: [receivers, senders]."""
        return torch.from_numpy(self.rank[:, None] > self.rank)

    @cached_property
    def senders(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Who is heard: where the edges into each neuron begin; for each edge its sender, 1 if the new value of that is
        heard, 0 if the one of the firing before; the edge itself.
        """
        receiver, sender = self.edges.T
        new = self.rank[receiver] > self.rank[sender]
        return _begins(receiver, len(self.order)), _int64(sender), _int64(new), torch.arange(len(sender))

    @cached_property
    def receivers(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Who hears: where the edges out of each neuron begin; for each its receiver, 0 if that hears the value in the
        same firing, 1 if in the firing after; the edge itself.
        """
        receiver, sender = self.edges.T
        edge = np.argsort(sender, kind="stable")
        receiver, sender = receiver[edge], sender[edge]
        late = self.rank[receiver] < self.rank[sender]
        return _begins(sender, len(self.order)), _int64(receiver), _int64(late), _int64(edge)

    def of_weight(self, values: Tensor, grads: Tensor) -> Tensor:
        """Gradients of a matrix of weights: sums over time and batch of gradient times value heard."""
        batch = grads.shape[2]
        flat, heard = grads.flatten(1), values.flatten(1)
        new, old = flat @ heard[:, batch:].T, flat @ heard[:, :-batch].T
        return torch.where(self.fed_forward.to(grads.device), new, old).fill_diagonal_(0)

    def of_state(self, weight: Tensor, grads: Tensor) -> Tensor:
        """Gradients of the values before the first firing, from those of f's arguments there, [neurons, batch]."""
        if weight.ndim == 2:
            old = torch.where(self.fed_forward.to(weight.device), 0, self.matrix(weight))
            return torch.addmm(grads, old.T, grads, beta=self.keep)
        receiver, sender = self.edges[self.senders[2].numpy() == 0].T
        receiver, sender = torch.from_numpy(receiver).to(weight.device), torch.from_numpy(sender).to(weight.device)
        old = weight[(self.senders[2] == 0).to(weight.device), None]
        return (self.keep * grads).index_add(0, sender, old * grads[receiver])


def _begins(sorted_neurons: np.ndarray, neurons: int) -> Tensor:
    return _int64(np.searchsorted(sorted_neurons, np.arange(neurons + 1)))


def _int64(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
