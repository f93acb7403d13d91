"""Sinkhorn attention."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.attention.attention import Attention, make_key_mask
from remanence.nn.attention.blocks import join, split, transpose_mask
from remanence.nn.attention.softmax import attend
from remanence.nn.structure import Device


class SinkhornAttention(Attention):
    """Sparse Sinkhorn attention: each block attends to itself and to the block that a learned sorting assigns to it.

    ``R = sinkhorn(W Σ_{t in block} k_t)`` is a soft permutation of blocks; the sorted keys are ``R K`` and the sorted
    values ``R V`` (Tay et al. 2020, section 3). No Gumbel noise is added. In the causal form (section 3.3), the sum
    goes up to the first position of a block, only earlier blocks are assigned, and a column is normalised over the rows
    up to the current one. Time is proportional to length · (block + number of blocks), memory to
    length · block + (number of blocks)².

    Args:
        width: number of channels of x and y.
        heads: number of heads; all use the same W.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence, which determines the number of blocks; required.
        block: number of positions in a block; default: 64.
        iterations: number of times that rows and columns are normalised; default: 8.
        temperature: the logits of R are divided by it; default: 0.75.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Raises:
        ValueError: ``max_length`` is missing, a size is not a positive integer, or ``temperature`` is not above 0.

    Example:
        >>> SinkhornAttention(8, heads=2, max_length=64, block=4)(torch.randn(3, 17, 8)).shape
        torch.Size([3, 17, 8])
    """

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        max_length: int | None = None,
        block: int = 64,
        iterations: int = 8,
        temperature: float = 0.75,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(width, heads, causal=causal, max_length=max_length)
        self.block = positive_integer("block", block)
        self.iterations = positive_integer("iterations", iterations)
        if not temperature > 0:
            raise UserError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature
        self.sort = nn.Linear(width // heads, -(-self._require_max_length() // block))

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = heads
        real = make_key_mask(mask, k)
        k, v = k.masked_fill(~real, 0), v.masked_fill(~real, 0)
        queries, keys, values, there = (split(x, self.block) for x in (q, k, v, real))
        permutation = self._compute_permutation(keys, there)
        sorted_keys, sorted_values, share = (
            (permutation @ x.flatten(-2)).unflatten(-1, x.shape[-2:]) for x in (keys, values, there.to(k.dtype))
        )
        own = torch.ones(self.block, self.block, dtype=torch.bool, device=q.device)
        own = transpose_mask(there) & (own.tril() if self.causal else own)
        # A sorted key is weighted by its share of real positions, since blocks may contain padding.
        share = transpose_mask(_divide(share, permutation.sum(-1)[..., None, None]))
        seen = torch.cat([own.expand(*queries.shape[:-1], -1), (share > 0).expand(*queries.shape[:-1], -1)], -1)
        log_share = share.clamp(min=torch.finfo(share.dtype).tiny).log()
        bias = nn.functional.pad(log_share, (self.block, 0))
        y, _ = attend(queries, torch.cat([keys, sorted_keys], -2), torch.cat([values, sorted_values], -2), seen, bias)
        return join(y, q.shape[2])

    def _compute_permutation(self, keys: Tensor, there: Tensor) -> Tensor:
        """Compute R [batch, heads, blocks, blocks], one row for each reading block, ignoring padding."""
        count = keys.shape[2]
        # In the causal form, a block is represented by all positions up to its first one.
        blocks = keys.sum(-2).cumsum(2) - keys[..., 1:, :].sum(-2) if self.causal else keys.sum(-2)
        allowed = there.any(-2)
        allowed = allowed & allowed.transpose(-1, -2)
        if self.causal:
            allowed = allowed & torch.ones(count, count, dtype=torch.bool, device=keys.device).tril(-1)
        logits = self.sort(blocks)[..., :count] / self.temperature
        return sinkhorn(logits, allowed.expand_as(logits), iterations=self.iterations, causal=self.causal)


def sinkhorn(logits: Tensor, allowed: Tensor, *, iterations: int, causal: bool = False) -> Tensor:
    """Make ``exp(logits)`` doubly stochastic where ``allowed``, normalising rows and columns in turn (Sinkhorn 1964).

    Args:
        logits: [..., rows, columns].
        allowed: boolean, of the same shape; the result is 0 where it is False.
        iterations: number of times that rows and columns are normalised.
        causal: whether a column is normalised by its sum over the rows up to the current one, so that no row depends on
            a later one.

    Returns:
        The matrix, [..., rows, columns].
    """
    logits = logits - logits.detach().masked_fill(~allowed, torch.finfo(logits.dtype).min).amax(-1, keepdim=True)
    matrix = torch.where(allowed, logits, 0).exp() * allowed
    for _ in range(iterations):
        matrix = _divide(matrix, matrix.sum(-1, keepdim=True))
        matrix = _divide(matrix, matrix.cumsum(-2) if causal else matrix.sum(-2, keepdim=True))
    return matrix


def _divide(matrix: Tensor, total: Tensor) -> Tensor:
    return matrix / total.masked_fill(total == 0, 1)
