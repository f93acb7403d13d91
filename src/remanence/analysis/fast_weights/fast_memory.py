"""The fast weight matrix as an associative memory."""

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.errors import UserError
from remanence.nn.fast_weights import FastWeights


class FastMemory:
    """The matrix A of a layer as a memory for patterns, with the layer's learning rule, λ and η.

    A pattern is written like a hidden state, ``A <- λ A + η h hᵀ``, and recalled by reading once, ``A h``: an
    autoassociative linear associator that forgets. With patterns of -1 and 1, a cue c of the pattern ξ_a, written a
    patterns ago, recalls::

        A c / (η N) = λ^a ξ_a (ξ_a · c) / N + Σ_{b≠a} λ^b ξ_b (ξ_b · c) / N

    where the sum over b is crosstalk. Use it with :func:`remanence.analysis.capacity_curve` to compare it with the
    other memories.

    Args:
        layer: a :class:`remanence.nn.FastWeights`; only ``hidden_size``, ``decay`` and ``fast_learning_rate`` are used.

    Attributes:
        weight: A [hidden_size, hidden_size], initially zero.

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
        """Write patterns one after the other.

        Args:
            patterns: the patterns, [items, hidden_size], in the order of writing.

        Raises:
            ValueError: the patterns have a wrong shape.
        """
        self._check(patterns)
        A = self.weight[None]
        for h in patterns.to(A):
            A = self.layer.write(A, h[None])
        self.weight = A[0]

    def __call__(self, cues: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Recall: compute A h.

        Args:
            cues: the cues h, [batch, hidden_size].

        Returns:
            The recalled patterns, [batch, hidden_size].

        Raises:
            ValueError: the cues have a wrong shape.
        """
        self._check(cues)
        return cues.to(self.weight) @ self.weight.T

    def _check(self, patterns: Tensor) -> None:
        if patterns.ndim != 2 or patterns.shape[1] != self.layer.hidden_size:
            raise UserError(f"FastMemory expected [patterns, {self.layer.hidden_size}], got {list(patterns.shape)}")
