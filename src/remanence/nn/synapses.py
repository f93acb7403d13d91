"""Synapses of liquid neurons, whose conductance depends on the sender."""

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from remanence.nn.structure import Structured
from remanence.ops.ltc import Edges, SynapseParameters, sum_synapses


class Synapses(Structured):
    """Synapses with the conductances ``w_ij σ(γ_ij (v_j - μ_ij))``, each of which pulls receiver i towards ``E_ij``.

    Only synapses that exist have parameters, so a sparse wiring has few.

    Args:
        adjacency: +1 (excitatory), -1 (inhibitory) or 0 (no synapse), [receivers, senders].

    Parameters, one for each synapse, sorted by receiver, then by sender:
        log_weight (log w), slope (γ), threshold (μ) and log_potential (log |E|); the sign of E is that of the
        adjacency and does not change.
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
        """Reinitialise w in [0.001, 1], γ in [3, 8], μ in [0.3, 0.8] and |E| = 1 (Lechner et al. 2020)."""
        with torch.no_grad():
            self.log_weight.uniform_(0.001, 1).log_()
            self.slope.uniform_(3, 8)
            self.threshold.uniform_(0.3, 0.8)
            self.log_potential.zero_()

    @property
    def edges(self) -> Edges:
        """The synapses, as :mod:`remanence.ops.ltc` represents them."""
        if self._edges is None or self._edges.receiver is not self.receiver:  # moved to another device since
            self._edges = Edges(self.receiver, self.sender, self.receivers, self.senders, ordered=True)
        return self._edges

    @property
    def synapse_parameters(self) -> SynapseParameters:
        """The parameters w, γ, μ and E of each synapse."""
        potential = self.sign * self.log_potential.exp()
        return SynapseParameters(self.log_weight.exp(), self.slope, self.threshold, potential)

    def forward(
        self, source: Float[Tensor, "*batch senders"]
    ) -> tuple[Float[Tensor, "*batch receivers"], Float[Tensor, "*batch receivers"]]:
        """Compute the sums over each receiver's synapses: Σ conductance, and Σ conductance · E.

        Args:
            source: states of the senders, [..., senders].

        Returns:
            Both sums, [..., receivers] each.
        """
        return sum_synapses(source, self.edges, self.synapse_parameters)

    def extra_repr(self) -> str:
        """Return the sizes that ``print(layer)`` shows."""
        return f"{len(self.receiver)} of {self.receivers} x {self.senders}"
