"""Performer attention."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.checks import positive_integer
from remanence.nn.attention.attention import Attention, make_key_mask
from remanence.nn.attention.kernel_attention import attend_by_kernel
from remanence.nn.structure import Device


class PerformerAttention(Attention):
    """Performer (FAVOR+): softmax attention estimated with positive orthogonal random features.

    ``exp(q · k) = E_w[φ(q) φ(k)]`` with ``φ(x) = exp(w · x - |x|² / 2)`` and normal w (Choromanski et al. 2021, lemma
    1); ``features`` vectors w are drawn, orthogonal to each other within groups of at most ``width / heads`` (section
    2.4). The estimates of numerator and denominator are unbiased. Time and memory are proportional to
    length · features.

    Args:
        width: number of channels of x and y.
        heads: number of heads; all use the same w.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence; default: no limit.
        features: number of random features m; default: 256.
        redraw_every: number of forward passes in training after which w is redrawn (section 4); default: 1000.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Buffers:
        directions [features, width / heads] (w), and passes, the number of forward passes since the last draw.

    Example:
        >>> PerformerAttention(8, heads=2, features=16)(torch.randn(3, 17, 8)).shape
        torch.Size([3, 17, 8])
    """

    directions: Tensor
    passes: Tensor

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        max_length: int | None = None,
        features: int = 256,
        redraw_every: int = 1000,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(width, heads, causal=causal, max_length=max_length)
        self.features = positive_integer("features", features)
        self.redraw_every = positive_integer("redraw_every", redraw_every)
        self.register_buffer("directions", torch.empty(features, width // heads))
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))
        self.redraw()

    @torch.no_grad()
    def redraw(self) -> None:
        """Redraw w."""
        self.directions.copy_(draw_orthogonal_directions(*self.directions.shape))
        self.passes.zero_()

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = heads
        if self.training:
            if self.passes >= self.redraw_every:
                self.redraw()
            self.passes += 1
        exponents_q = self._compute_exponents(q)
        exponents_k = self._compute_exponents(k).masked_fill(~make_key_mask(mask, k), -math.inf)
        # A factor per query, or one for all keys, cancels in the fraction; it prevents overflow. So does 1 / √features,
        # which is omitted.
        return attend_by_kernel(
            _compute_scaled_exp(exponents_q, (-1,)), _compute_scaled_exp(exponents_k, (-2, -1)), v, causal=self.causal
        )

    def _compute_exponents(self, x: Tensor) -> Tensor:
        x = x * x.shape[-1] ** -0.25  # q · k / √d
        return x @ self.directions.to(x.dtype).T - x.square().sum(-1, keepdim=True) / 2


def _compute_scaled_exp(exponents: Tensor, dims: tuple[int, ...]) -> Tensor:
    top = exponents.detach().amax(dims, keepdim=True)
    return torch.exp(exponents - top.clamp(min=torch.finfo(top.dtype).min))


def draw_orthogonal_directions(count: int, channels: int) -> Tensor:
    """Draw normal vectors [count, channels], orthogonal in groups of ``channels``, with independent lengths."""
    groups = torch.randn(-(-count // channels), channels, channels)
    Q, R = torch.linalg.qr(groups)
    # The signs of R make Q uniform over all rotations; without them, some directions are preferred and the estimate is
    # biased.
    Q = Q * R.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    directions = Q.transpose(-1, -2).flatten(0, 1)[:count]
    return directions * torch.randn(count, channels).norm(dim=1, keepdim=True)
