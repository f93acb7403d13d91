"""Hopfield networks, which store patterns as attractors."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError

RULES = ("hebb", "pseudo_inverse", "storkey")


class Hopfield(nn.Module):
    """Hopfield network: N units of -1 or 1 with symmetric weights, whose sequential updates never increase the energy.

    An update sets a unit to the sign of its field ``h_i = Σ_j W_ij s_j``, or leaves it as it is if the field is 0.
    Patterns ξ are stored one after the other by one of three rules::

        hebb             W <- W + ξ ξᵀ / N, diagonal 0
        pseudo_inverse   W <- W + r rᵀ / ‖r‖², r = ξ - W ξ, so that W projects onto the span of the patterns
        storkey          W <- W + (ξ_i ξ_j - ξ_i h_ji - h_ij ξ_j) / N, h_ij = Σ_{k≠i,j} W_ik ξ_k, diagonal 0

    Hebb's rule can store about 0.138 N random patterns, Storkey's rule more, and the pseudo-inverse rule any N - 1
    linearly independent patterns, although their basins of attraction shrink.

    Args:
        size: number of units N.
        rule: ``"hebb"`` (default), ``"pseudo_inverse"`` or ``"storkey"``.

    Attributes:
        weight: W [size, size], initially zero; a buffer, not trained by gradients.

    Raises:
        ValueError: the size is not a positive integer, or the rule is unknown.

    References:
        Hopfield 1982, PNAS 79. Amit, Gutfreund, Sompolinsky 1985, Phys. Rev. Lett. 55 (0.138 N). Personnaz, Guyon,
        Dreyfus 1985, J. Physique Lett. 46 (pseudo-inverse). Storkey 1997, ICANN.

    Example:
        >>> memory = Hopfield(100)
        >>> patterns = torch.randn(5, 100).sign()
        >>> memory.store(patterns)
        >>> cue = patterns.clone()
        >>> cue[:, :10] *= -1
        >>> torch.equal(memory(cue), patterns)
        True
    """

    weight: Tensor

    def __init__(self, size: int, *, rule: Literal["hebb", "pseudo_inverse", "storkey"] = "hebb"):
        super().__init__()
        if rule not in RULES:
            raise UserError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
        self.size = positive_integer("size", size)
        self.rule = rule
        self.register_buffer("weight", torch.zeros(size, size))

    @torch.no_grad()
    def store(self, patterns: Float[Tensor, "items size"]) -> None:
        """Store further patterns.

        Args:
            patterns: the patterns, [items, size], with values -1 and 1.

        Raises:
            ValueError: the patterns have a wrong shape, or other values.
        """
        self._check(patterns)
        patterns = patterns.to(self.weight)  # pixels are often of dtype uint8 or bool
        if not bool((patterns.abs() == 1).all()):
            raise UserError(
                f"got {patterns[patterns.abs() != 1][0].item():g} where patterns must be of -1 and 1: pass "
                "2.0 * patterns - 1, if they are of 0 and 1, or torch.where(patterns > threshold, 1.0, -1.0)"
            )
        if self.rule == "hebb":
            self.weight += patterns.T @ patterns / self.size
            self.weight.fill_diagonal_(0)
            return
        for pattern in patterns:
            (self._project if self.rule == "pseudo_inverse" else self._store_by_storkey)(pattern)

    def _project(self, pattern: Tensor) -> None:
        new = pattern - self.weight @ pattern
        square = new @ new
        if square > 1e-4 * self.size * torch.finfo(new.dtype).eps ** 0.5:  # else it is in the span of the others
            self.weight += torch.outer(new, new) / square

    def _store_by_storkey(self, pattern: Tensor) -> None:
        # h_ij without k = i (W_ii = 0) and without k = j.
        field = (self.weight @ pattern)[:, None] - self.weight * pattern
        crossed = field * pattern
        self.weight += (torch.outer(pattern, pattern) - crossed - crossed.T) / self.size
        self.weight.fill_diagonal_(0)

    def energy(self, state: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
        """Compute ``E = -½ sᵀ W s``, which a sequential update never increases.

        Args:
            state: states s, [batch, size], with values -1 and 1.

        Returns:
            The energy of each state, [batch].

        Raises:
            ValueError: the states have a wrong shape.
        """
        return -0.5 * (state * (state @ self.weight)).sum(-1)

    @torch.no_grad()
    def forward(
        self,
        state: Float[Tensor, "batch size"],
        *,
        update: Literal["sequential", "synchronous"] = "sequential",
        sweeps: int = 100,
    ) -> Float[Tensor, "batch size"]:
        """Recall: update all units until nothing changes.

        Args:
            state: the cues, [batch, size], with values -1 and 1.
            update: ``"sequential"`` (default) updates one unit after the other and ends in a fixed point;
                ``"synchronous"`` updates all units at once and may end in a cycle of two states.
            sweeps: maximum number of updates of every unit; default: 100.

        Returns:
            The states after the last update, [batch, size].

        Raises:
            ValueError: the cues have a wrong shape, or ``update`` is unknown.
        """
        self._check(state)
        if update not in ("sequential", "synchronous"):
            raise UserError(f"update must be 'sequential' or 'synchronous', got {update!r}")
        sweep = self._update_sequentially if update == "sequential" else self._update_synchronously
        for _ in range(sweeps):
            after = sweep(state)
            if torch.equal(after, state):
                break
            state = after
        return state

    def _update_synchronously(self, state: Tensor) -> Tensor:
        return _take_signs(state @ self.weight, state, self._rounding)

    def _update_sequentially(self, state: Tensor) -> Tensor:
        columns = state.T.clone()  # [size, batch]: a unit is contiguous
        rounding = self._rounding
        for unit, weights in enumerate(self.weight):
            columns[unit] = _take_signs(weights @ columns, columns[unit], rounding)
        return columns.T.contiguous()

    @property
    def _rounding(self) -> Tensor:
        """The largest value that rounding can give to a field that is 0."""
        return 4 * torch.finfo(self.weight.dtype).eps * self.weight.abs().sum(1).max()

    def _check(self, state: Tensor) -> None:
        if state.ndim != 2 or state.shape[1] != self.size:
            raise UserError(f"Hopfield expected states [batch, {self.size}], got {list(state.shape)}")

    def extra_repr(self) -> str:
        """Return the size and the rule that ``print(memory)`` shows."""
        return f"size={self.size}, rule={self.rule!r}"


def _take_signs(field: Tensor, state: Tensor, rounding: Tensor) -> Tensor:
    return torch.where(field.abs() <= rounding, state, field.sign())
