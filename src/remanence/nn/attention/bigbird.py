"""BigBird attention."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.checks import positive_integer
from remanence.nn.attention.attention import Attention, make_key_mask
from remanence.nn.attention.blocks import gather_neighbours, join, split, transpose_mask
from remanence.nn.attention.global_tokens import attend_global_tokens, mask_global_tokens
from remanence.nn.attention.softmax import attend
from remanence.nn.structure import Device


class BigBirdAttention(Attention):
    """BigBird: window, global and random attention in blocks (Zaheer et al. 2020, section 2, ITC, and appendix D).

    Each block attends to itself, to the block on either side, to the first ``global_blocks`` (which attend to
    everything), and to ``random_blocks`` others, drawn once for the layer and kept in the buffer ``drawn`` [blocks,
    random_blocks]. Time and memory are proportional to length · block · (3 + global + random blocks).

    Args:
        width: number of channels of x and y.
        heads: number of heads.
        causal: whether position t attends only to positions up to t; random blocks are then drawn from the past.
        max_length: length of the longest sequence; required. In a shorter sequence, random blocks beyond its end are
            ignored.
        block: number of positions in a block; default: 64.
        global_blocks: number of global blocks; default: 1.
        random_blocks: number of random blocks; default: 2. A block with fewer others to draw from uses all of them.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Raises:
        ValueError: ``max_length`` is missing, or a size is not a positive integer.

    Example:
        >>> BigBirdAttention(8, heads=2, max_length=64, block=4)(torch.randn(3, 17, 8)).shape
        torch.Size([3, 17, 8])
    """

    drawn: Tensor

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        max_length: int | None = None,
        block: int = 64,
        global_blocks: int = 1,
        random_blocks: int = 2,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(width, heads, causal=causal, max_length=max_length)
        self.block = positive_integer("block", block)
        self.global_blocks = positive_integer("global_blocks", global_blocks)
        count = -(-self._require_max_length() // block)
        drawn = self._draw(count, positive_integer("random_blocks", random_blocks))
        self.fix("drawn", drawn.numpy(), saved=True, follows=True)

    def _draw(self, count: int, size: int) -> Tensor:
        """Draw up to ``size`` other blocks for each of ``count`` blocks, padded with -1."""
        block, generator = torch.arange(count, device="cpu"), torch.Generator().manual_seed(0)
        distance = block - block[:, None]
        free = (distance < -1 if self.causal else distance.abs() > 1) & (block >= self.global_blocks)
        # The largest of random numbers are a draw without replacement; excluded blocks get numbers below all others.
        lots = torch.rand(count, count, generator=generator, device="cpu")
        lots, drawn = lots.masked_fill(~free, -1.0).topk(min(size, count))
        return drawn.masked_fill(lots < 0, -1)

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = heads
        time, tokens = q.shape[2], self.block * self.global_blocks
        real = make_key_mask(mask, k)
        queries, keys, values, others = (split(x, self.block) for x in (q, k, v, mask_global_tokens(real, tokens)))
        after = 0 if self.causal else 1
        seen = transpose_mask(gather_neighbours(others, 1, after))
        if self.causal:
            seen = seen & torch.ones(self.block, 2 * self.block, dtype=torch.bool, device=q.device).tril(self.block)
        near = attend(queries, gather_neighbours(keys, 1, after), gather_neighbours(values, 1, after), seen)
        drawn = self.drawn[: queries.shape[2]]
        there = (drawn >= 0) & (drawn < queries.shape[2])
        chosen = drawn.where(there, 0)
        seen = transpose_mask((others[:, :, chosen] & there[..., None, None]).flatten(-3, -2))
        far = attend(queries, keys[:, :, chosen].flatten(-3, -2), values[:, :, chosen].flatten(-3, -2), seen)
        rest = [(join(y, time), join(log_total, time)) for y, log_total in (near, far)]
        return attend_global_tokens(q, k, v, real, tokens=tokens, causal=self.causal, others=rest)
