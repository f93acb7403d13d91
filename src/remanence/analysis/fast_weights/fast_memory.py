"""The fast weight matrix by itself, as an associative memory."""

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.errors import UserError
from remanence.nn.fast_weights import FastWeights


class FastMemory:
    """The matrix A of a layer as a memory for patterns, with the layer's own rule, λ and η.

    A pattern is written as a hidden state would be, ``A <- λ A + η h hᵀ``, and recalled by one reading, ``A h``. So it
    is an autoassociative linear associator that forgets: with patterns of -1 and 1 a cue c of the pattern ξ_a, written
    a patterns ago, finds::

        A c / (η N) = λ^a ξ_a (ξ_a · c) / N + Σ_{b≠a} λ^b ξ_b (ξ_b · c) / N

    the second sum being the crosstalk. For :func:`remanence.analysis.capacity_curve`, beside the other memories.

    Args:
        layer: of which ``hidden_size``, ``decay`` and ``fast_learning_rate`` count.

    Attributes:
        weight: A [hidden_size, hidden_size], zero at first.

    References:
        Ba et al. 2016, arXiv:1610.06258, sections 2 and 3.

    Example:
        >>> from remanence.nn import FastWeights
        >>> from remanence.analysis import capacity_curve
        >>> layer = FastWeights(3, 200, decay=0.95)
        >>> curve = capacity_curve(lambda: FastMemory(layer), 200, [0.05, 1.0])
        >>> [round(float(mean), 1) for mean in curve.overlaps.mean(1)]
        [1.0, 0.5]
    """

    def __init__(self, layer: FastWeights):
        self.layer = layer
        self.weight = layer.initial_state(1)[1][0].detach()

    @torch.no_grad()
    def store(self, patterns: Float[Tensor, "items size"]) -> None:
        """Write patterns, the last one last.

        Args:
            patterns: what to write, one pattern per row, in this order.

        Raises:
            ValueError: another number of channels.
        """
        self._check(patterns)
        A = self.weight[None]
        for h in patterns.to(A):
            A = self.layer.write(A, h[None])
        self.weight = A[0]

    def __call__(self, cues: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Recall: A h."""
        self._check(cues)
        return cues.to(self.weight) @ self.weight.T

    def _check(self, patterns: Tensor) -> None:
        if patterns.ndim != 2 or patterns.shape[1] != self.layer.hidden_size:
            raise UserError(f"expected [patterns, {self.layer.hidden_size}], got {list(patterns.shape)}")
