"""What stays the same from call to call: who fires when, and how."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from remanence.nn.persistent import Pointwise
from remanence.wiring import Wiring, levels


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
