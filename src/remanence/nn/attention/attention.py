"""The interface of all attention methods."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.structure import Device, Structured


class Attention(Structured):
    """Base class of attention methods: ``y = attention(x, mask)``, with x and y [batch, time, width].

    The input is projected to queries, keys and values (without bias) and split into heads; a subclass computes the
    output of each head (:meth:`_attend`); the heads are concatenated and projected back to ``width``.

    Args:
        width: number of channels of x and y.
        heads: number of heads, each with ``width / heads`` channels; default: 1.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence; only some methods require it.
        projections: number of projections: 3 for queries, keys and values (default); 2 if queries are keys, too.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Raises:
        ValueError: a size is not a positive integer, ``width`` is not a multiple of ``heads``, the method does not
            support ``causal``, or it requires ``max_length``.

    Example:
        >>> class MeanOfAll(Attention):
        ...     def _attend(self, heads, mask):
        ...         queries, keys, values = heads
        ...         return values.mean(2, keepdim=True).expand_as(values)
        >>> MeanOfAll(8, heads=2)(torch.randn(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    can_be_causal: ClassVar[bool] = True

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        max_length: int | None = None,
        projections: int = 3,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        name = type(self).__name__
        self.width, self.heads = positive_integer("width", width), positive_integer("heads", heads)
        if width % heads:
            raise UserError(f"{name} expected a width divisible by {heads} heads, got {width}")
        if causal and not self.can_be_causal:
            raise UserError(f"{name} mixes all positions before it compares them, so it cannot be causal: omit causal")
        self.causal = causal
        self.max_length = None if max_length is None else positive_integer("max_length", max_length)
        self.project_in = nn.Linear(width, projections * width, bias=False)
        self.project_out = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Float[Tensor, "batch time width"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time width"]:
        """Compute the output at every position.

        Args:
            x: the input, [batch, time, width].
            mask: which positions are real, [batch, time]; the others are padding, to which no position attends.
                Default: all are real.

        Returns:
            The output [batch, time, width]; it is undefined at padded positions.

        Raises:
            ValueError: an argument has a wrong shape or dtype, or the sequence is longer than ``max_length``.
        """
        self._check(x, mask)
        if x.shape[1] == 0:
            return x.clone()
        heads = [self._split(part) for part in self.project_in(x).split(self.width, -1)]
        y = self._attend(heads, mask)
        return self.project_out(y.transpose(1, 2).flatten(2))

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        """Compute the output from queries, keys and values, all [batch, heads, time, channels]."""
        raise NotImplementedError

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.width // self.heads)).transpose(1, 2)

    def _require_max_length(self) -> int:
        if self.max_length is None:
            raise UserError(f"{type(self).__name__} needs max_length, the length of the longest sequence")
        return self.max_length

    def _check(self, x: Tensor, mask: Tensor | None) -> None:
        name = type(self).__name__
        if x.ndim != 3 or x.shape[-1] != self.width:
            raise UserError(f"{name} expected x [batch, time, width] with width {self.width}, got {list(x.shape)}")
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
            raise UserError(
                f"{name} expected a boolean mask {list(x.shape[:2])}, one for each position of x, "
                f"got {list(mask.shape)} of {mask.dtype}"
            )
        if self.max_length is not None and x.shape[1] > self.max_length:
            raise UserError(f"{name} was built for at most {self.max_length} positions (max_length), got {x.shape[1]}")

    def extra_repr(self) -> str:
        """Return the sizes that ``print(attention)`` shows."""
        return f"width={self.width}, heads={self.heads}, causal={self.causal}"


def make_key_mask(mask: Tensor | None, keys: Tensor) -> Tensor:
    """Reshape the mask of padding to [batch, 1, time, 1], for keys [batch, heads, time, channels]."""
    if mask is None:
        return torch.ones(keys.shape[0], 1, keys.shape[2], 1, dtype=torch.bool, device=keys.device)
    return mask[:, None, :, None]
