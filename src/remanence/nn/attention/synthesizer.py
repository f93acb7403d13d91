"""Synthesizer attention."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.attention.attention import Attention
from remanence.nn.attention.softmax import weigh
from remanence.nn.structure import Device

KINDS = ("factorized_random", "dense")


class SynthesizerAttention(Attention):
    """Synthesizer: attention weights without comparing positions, ``y = softmax(B) V`` (Tay et al. 2021, section 3).

    With ``kind="factorized_random"``, ``B = R1 R2ᵀ`` is the same for every input; with ``kind="dense"``,
    ``B_t = W2 relu(W1 x_t)`` depends only on the attending position. Time and memory are proportional to the square of
    the length.

    Args:
        width: number of channels of x and y.
        heads: number of heads.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence, which determines the shapes of R1, R2 and W2; required.
        kind: ``"factorized_random"`` (default) or ``"dense"``.
        rank: number of channels of R1 and R2 (k); default: 8.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        random [2, heads, max_length, rank] (R1, R2); or, if dense, project_in (W1) and lengths (W2), for all heads.

    Raises:
        ValueError: ``max_length`` is missing, or the kind is unknown.

    Example:
        >>> SynthesizerAttention(8, heads=2, max_length=64, kind="dense")(torch.randn(3, 17, 8)).shape
        torch.Size([3, 17, 8])
    """

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        max_length: int | None = None,
        kind: Literal["factorized_random", "dense"] = "factorized_random",
        rank: int = 8,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        if kind not in KINDS:
            raise UserError(f"kind must be {' or '.join(map(repr, KINDS))}, got {kind!r}")
        super().__init__(width, heads, causal=causal, max_length=max_length, projections=2 if kind == "dense" else 1)
        self.kind = kind
        length = self._require_max_length()
        if kind == "dense":
            self.lengths = nn.Linear(width // heads, length)
        else:
            self.random = nn.Parameter(torch.randn(2, heads, length, positive_integer("rank", rank)) / rank**0.5)

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        *first, v = heads
        time = v.shape[2]
        if self.kind == "dense":
            scores = self.lengths(F.relu(first[0]))[..., :time]
        else:
            reading, read = self.random[:, :, :time]
            scores = (reading @ read.transpose(-1, -2))[None]
        seen = torch.ones(time, time, dtype=torch.bool, device=v.device)
        seen = seen.tril() if self.causal else seen
        y, _ = weigh(scores, v, seen if mask is None else seen & mask[:, None, None, :])
        return y
