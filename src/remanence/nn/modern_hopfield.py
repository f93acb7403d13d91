"""The modern Hopfield network: repeated attention to stored patterns."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError


class ModernHopfield(nn.Module):
    """Continuous Hopfield network with exponential capacity: ``s <- Xᵀ softmax(β X s)``, where X are stored patterns.

    One update is attention with s as the query, the patterns as keys and values, and the scale β. It never increases
    the energy::

        E = -1/β log Σ_i exp(β x_i · s) + ½ ‖s‖² + 1/β log(items) + ½ max_i ‖x_i‖²

    Args:
        size: number of channels of a pattern.
        beta: β, above 0; a large β recalls one pattern, a small one a mean of several. Default: 1/√size, as in
            attention.

    Attributes:
        patterns: X [items, size], initially empty; a buffer, not trained by gradients.

    Raises:
        ValueError: the size is not a positive integer, or β is not above 0.

    References:
        Ramsauer et al. 2021, Hopfield networks is all you need, arXiv:2008.02217, equations 2 and 3; Krotov and
        Hopfield 2016, arXiv:1606.01164.

    Example:
        >>> memory = ModernHopfield(16, beta=2.0)
        >>> patterns = torch.randn(100, 16).sign()
        >>> memory.store(patterns)
        >>> float((memory(patterns[:5] + 0.2 * torch.randn(5, 16)) - patterns[:5]).abs().max()) < 0.1
        True
    """

    patterns: Tensor

    def __init__(self, size: int, *, beta: float | None = None):
        super().__init__()
        self.size = positive_integer("size", size)
        self.beta = 1 / math.sqrt(size) if beta is None else float(beta)
        if not self.beta > 0:
            raise UserError(f"beta must be above 0, got {beta}")
        self.register_buffer("patterns", torch.zeros(0, size))

    @torch.no_grad()
    def store(self, patterns: Float[Tensor, "items size"]) -> None:
        """Store further patterns.

        Args:
            patterns: the patterns to append, [items, size].

        Raises:
            ValueError: the patterns have a wrong shape.
        """
        self._check(patterns)
        self.patterns = torch.cat([self.patterns, patterns.to(self.patterns)])

    def forward(self, state: Float[Tensor, "batch size"], *, updates: int = 1) -> Float[Tensor, "batch size"]:
        """Recall: update the cues.

        Args:
            state: the cues s, [batch, size].
            updates: number of updates; default: 1, which is nearly always enough.

        Returns:
            The states after the last update, [batch, size].

        Raises:
            ValueError: the cues have a wrong shape, or nothing is stored yet.
        """
        self._check_recall(state)
        for _ in range(updates):
            state = torch.softmax(self.beta * state @ self.patterns.T, -1) @ self.patterns
        return state

    def energy(self, state: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
        """Compute the energy E, which is at least 0.

        Args:
            state: states s, [batch, size].

        Returns:
            The energy of each state, [batch].

        Raises:
            ValueError: the states have a wrong shape, or nothing is stored yet.
        """
        self._check_recall(state)
        similarity = torch.logsumexp(self.beta * state @ self.patterns.T, -1) / self.beta
        constant = math.log(len(self.patterns)) / self.beta + 0.5 * self.patterns.square().sum(1).max()
        return 0.5 * state.square().sum(-1) - similarity + constant

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **options: Any) -> None:
        # The number of patterns is that of the saved ones.
        saved = state_dict.get(f"{prefix}patterns")
        if saved is not None and saved.shape[1:] == self.patterns.shape[1:]:
            self.patterns = self.patterns.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    def _check(self, state: Tensor) -> None:
        if state.ndim != 2 or state.shape[1] != self.size:
            raise UserError(f"ModernHopfield expected a tensor [batch, {self.size}], got {list(state.shape)}")

    def _check_recall(self, state: Tensor) -> None:
        self._check(state)
        if not len(self.patterns):
            raise UserError("ModernHopfield has nothing to recall: call store(patterns) first")

    def extra_repr(self) -> str:
        """Return the size and β that ``print(memory)`` shows."""
        return f"size={self.size}, beta={self.beta:g}"
