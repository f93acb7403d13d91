"""Synapses of liquid neurons: conductances that a sender opens in a receiver."""

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from remanence.nn.structure import Structured
from remanence.ops.ltc import Edges, SynapseParameters, sum_synapses


class Synapses(Structured):
    """For each synapse from j to i a conductance ``w_ij σ(γ_ij (v_j - μ_ij))`` that pulls i towards ``E_ij``.

    Only synapses that exist have parameters, so a sparse wiring has few.

    Args:
        adjacency: +1 (excites), -1 (inhibits) or 0 (none), [receivers, senders].

    Parameters, one for each synapse, sorted by receiver, then by sender:
        log_weight (log w), slope (γ), threshold (μ) and log_potential (log |E|; the sign of E is that of the
        adjacency, for good).
    """

    receiver: Tensor
    sender: Tensor
    sign: Tensor

    def __init__(self, adjacency: Int8[np.ndarray, "receivers senders"]):
        super().__init__()
        self.receivers, self.senders = adjacency.shape
        receiver, sender = np.nonzero(adjacency)
        self.fix("receiver", receiver)
        self.fix("sender", sender)
        self.register_buffer("sign", torch.tensor(adjacency[adjacency != 0], dtype=torch.get_default_dtype()))
        count = len(receiver)
        self.log_weight, self.slope, self.threshold, self.log_potential = (
            nn.Parameter(torch.empty(count)) for _ in range(4)
        )
        self._edges: Edges | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw w from 0.001 ... 1, γ from 3 ... 8, μ from 0.3 ... 0.8; |E| = 1 (Lechner et al. 2020)."""
        with torch.no_grad():
            self.log_weight.uniform_(0.001, 1).log_()
            self.slope.uniform_(3, 8)
            self.threshold.uniform_(0.3, 0.8)
            self.log_potential.zero_()

    @property
    def edges(self) -> Edges:
        """Who is connected to whom."""
        if self._edges is None or self._edges.receiver is not self.receiver:  # moved to another device since
            self._edges = Edges(self.receiver, self.sender, self.receivers, self.senders, ordered=True)
        return self._edges

    @property
    def synapse_parameters(self) -> SynapseParameters:
        """w, γ, μ and E of each synapse."""
        potential = self.sign * self.log_potential.exp()
        return SynapseParameters(self.log_weight.exp(), self.slope, self.threshold, potential)

    def forward(
        self, source: Float[Tensor, "*batch senders"]
    ) -> tuple[Float[Tensor, "*batch receivers"], Float[Tensor, "*batch receivers"]]:
        """Compute what each receiver gets: Σ conductance, and Σ conductance · E."""
        return sum_synapses(source, self.edges, self.synapse_parameters)

    def extra_repr(self) -> str:
        """Return the sizes that ``print(layer)`` shows."""
        return f"{len(self.receiver)} of {self.receivers} x {self.senders}"
