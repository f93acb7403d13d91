"""Which synapses there are, and how strong they are."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Strengths(NamedTuple):
    """What a synapse from j to i does: a conductance ``w_ij σ(γ_ij (v_j - μ_ij))`` that pulls i towards ``E_ij``.

    Attributes:
        weight: w, [edges], not negative.
        slope: γ, [edges].
        threshold: μ, [edges].
        potential: E, [edges].
    """

    weight: Float[Tensor, " edges"]
    slope: Float[Tensor, " edges"]
    threshold: Float[Tensor, " edges"]
    potential: Float[Tensor, " edges"]


@dataclass(frozen=True, eq=False)
class Edges:
    """Synapses from senders to receivers.

    Attributes:
        receiver: [edges], in ascending order.
        sender: [edges].
        receivers: how many receivers there are.
        senders: likewise.
        ordered: whether it is known that they are sorted by receiver, then by sender, none there twice; default: look.
    """

    receiver: Int64[Tensor, " edges"]
    sender: Int64[Tensor, " edges"]
    receivers: int
    senders: int
    ordered: bool = False

    def __len__(self) -> int:
        return len(self.receiver)

    @property
    def full(self) -> bool:
        """Whether every sender reaches every receiver, in the order of the senders."""
        return len(self) == self.receivers * self.senders and (self.ordered or self._looks_ordered)

    @cached_property
    def _looks_ordered(self) -> bool:
        place = self.receiver * self.senders + self.sender
        return bool((place[1:] > place[:-1]).all())

    @cached_property
    def starts(self) -> Tensor:
        """Where the edges of each receiver start, and where the last ones end, [receivers + 1]."""
        counts = torch.bincount(self.receiver, minlength=self.receivers)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
