"""Synapses: which neurons are connected, and with which parameters."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from remanence.errors import UserError


class SynapseParameters(NamedTuple):
    """Parameters of synapses. One from j to i is a conductance ``w_ij σ(γ_ij (v_j - μ_ij))`` towards ``E_ij``.

    Attributes:
        weight: largest conductances w, [edges], at least 0.
        slope: slopes γ, [edges].
        threshold: thresholds μ, [edges].
        potential: reversal potentials E, [edges].
    """

    weight: Float[Tensor, " edges"]
    slope: Float[Tensor, " edges"]
    threshold: Float[Tensor, " edges"]
    potential: Float[Tensor, " edges"]


@dataclass(frozen=True, eq=False)
class Edges:
    """Synapses from senders to receivers.

    Attributes:
        receiver: receiver of each edge, [edges], in ascending order.
        sender: sender of each edge, [edges], in ascending order for each receiver, without duplicates.
        receivers: number of receivers.
        senders: number of senders.
        ordered: whether to skip the check of order and range, because the edges are known to be valid; default: False.

    Raises:
        ValueError: the edges are not in this order, or refer to a neuron that does not exist.
    """

    receiver: Int64[Tensor, " edges"]
    sender: Int64[Tensor, " edges"]
    receivers: int
    senders: int
    ordered: bool = False

    def __len__(self) -> int:
        return self.receiver.shape[0]  # len() of a tensor takes ten times as long

    def __post_init__(self) -> None:
        if self.ordered:
            return
        receiver, sender = self.receiver, self.sender
        if receiver.ndim != 1 or receiver.shape != sender.shape or {receiver.dtype, sender.dtype} != {torch.int64}:
            raise UserError(
                f"receiver and sender must be [edges] of int64, got {list(receiver.shape)} of {receiver.dtype} and "
                f"{list(sender.shape)} of {sender.dtype}"
            )
        for name, places, size in (("receiver", receiver, self.receivers), ("sender", sender, self.senders)):
            if len(places) and not 0 <= int(places.min()) <= int(places.max()) < size:
                raise UserError(f"{name} must be 0 to {size - 1}, got {int(places.min())} to {int(places.max())}")
        place = receiver * self.senders + sender
        if not (place[1:] > place[:-1]).all():
            raise UserError("edges must be sorted by receiver, then by sender, and none may occur twice")

    @property
    def full(self) -> bool:
        """Whether every sender reaches every receiver."""
        return len(self) == self.receivers * self.senders

    @cached_property
    def starts(self) -> Tensor:
        """Where the edges of each receiver start, and where the last ones end, [receivers + 1]."""
        counts = torch.bincount(self.receiver, minlength=self.receivers)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
