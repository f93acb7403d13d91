"""Fast weights as attention: how strongly each past hidden state is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.canvas import get_axes
from remanence.analysis.fast_weights.path import trace_path
from remanence.errors import UserError
from remanence.nn.fast_weights import FastWeights


@dataclass(frozen=True, eq=False)
class FastAttention:
    """The attention weights of a fast weights layer, at every time step and inner step.

    Attributes:
        inner: η λ^{t-1-τ} (h_τ · h^s_t) for s = 0 ... S-1, [batch, inner, time, time], with the reading step t as row
            and the step τ that is read as column; 0 for τ ≥ t.
        states: h_τ, [batch, time, hidden]; ``inner[:, s] @ states`` is A_{t-1} h^s_t.
    """

    inner: Float[Tensor, "batch inner time time"]
    states: Float[Tensor, "batch time hidden"]

    @property
    def weights(self) -> Float[Tensor, "batch time time"]:
        """The weights of the last inner step, from which the layer's output is computed, [batch, time, time]."""
        return self.inner[:, -1]

    def plot(self, axes: Any = None, *, symbols: Sequence[str] | None = None, row: int = 0, inner: int = -1) -> Any:
        """Plot a heat map of one sequence, with the reading step as row and the step that is read as column.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.
            symbols: a label for each time step; default: its index.
            row: index of the sequence in the batch; default: 0.
            inner: index of the inner step; default: the last.

        Returns:
            The axes.

        Raises:
            ValueError: the number of symbols is not that of time steps.
        """
        weights = self.inner[row, inner].cpu()
        count = len(weights)
        names = [str(t) for t in range(count)] if symbols is None else list(symbols)
        if len(names) != count:
            raise UserError(f"expected {count} symbols, one for each time step, got {len(names)}")
        axes = get_axes(axes)
        limit = float(weights.abs().max()) or 1.0
        shown = weights.where(torch.ones_like(weights).tril(-1) > 0, torch.nan)
        low = -limit if bool((weights < 0).any()) else 0.0
        image = axes.imshow(shown.numpy(), cmap="RdBu_r" if low < 0 else "Blues", vmin=low, vmax=limit)
        axes.figure.colorbar(image, ax=axes, label=r"$\eta\,\lambda^{t-1-\tau}\; h_\tau\cdot h^s_t$")
        axes.set_xticks(range(count), names)
        axes.set_yticks(range(count), names)
        axes.set(xlabel=r"reads the state after ($\tau$)", ylabel="while at (t)", title="Attention in fast weights")
        return axes


@torch.no_grad()
def fast_attention(layer: FastWeights, x: Float[Tensor, "batch time input"]) -> FastAttention:
    """Compute the weights with which a fast weights layer attends to its past hidden states.

    ``A_{t-1} h^s_t = Σ_{τ<t} η λ^{t-1-τ} (h_τ · h^s_t) h_τ`` is attention without a softmax, with hidden states as keys
    and values and weights that decay by λ per step. With ReLU, no weight is negative.

    Args:
        layer: a :class:`remanence.nn.FastWeights`, run from its initial state.
        x: the input, [batch, time, input].

    Returns:
        The attention weights of every time step and inner step.

    Raises:
        ValueError: the layer is of another type, or the input has a wrong shape.

    References:
        Ba et al. 2016, arXiv:1610.06258, section 3, equation 3.

    Example:
        >>> from remanence.nn import FastWeights
        >>> layer, x = FastWeights(3, 8), torch.randn(2, 5, 3)
        >>> found = fast_attention(layer, x)
        >>> found.weights.shape, float(found.weights[:, 0].abs().max())
        (torch.Size([2, 5, 5]), 0.0)
    """
    path = trace_path(layer, x)
    S, time = layer.inner_steps, x.shape[1]
    states = path.iterates[:, :, S]
    ages = torch.arange(time, device=x.device)[:, None] - 1 - torch.arange(time, device=x.device)
    fading = float(layer.decay) ** ages.clamp_min(0).to(x.dtype) * (ages >= 0)
    similarity = torch.einsum("btsi,bui->bstu", path.iterates[:, :, :S], states)
    return FastAttention(float(layer.fast_learning_rate) * fading * similarity, states)
