"""Reformer attention."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.attention.attention import Attention, make_key_mask
from remanence.nn.attention.blocks import gather_neighbours, split
from remanence.nn.attention.softmax import Part, attend, merge
from remanence.nn.structure import Device

SELF_PENALTY = 1e5  # a position attends to itself only if it has no other key (appendix A)


class ReformerAttention(Attention):
    """Reformer: attention among positions with the same hash (Kitaev et al. 2020, section 2 and appendix A).

    Queries serve as keys, ``k = q / |q|``. Each of several rounds hashes them with random rotations,
    ``argmax [q R; -q R]``, and sorts them by hash, then by time. Each position attends to positions of the same hash at
    most ``chunk`` places before it (and, unless causal, after it). A pair that meets in several rounds counts once.

    The paper divides the sorted sequence into chunks and attends to the same and the previous chunk. Chunk boundaries
    depend on the hashes of later positions, whereas distances within a hash do not; this layer uses distances, at the
    same cost. Time and memory are proportional to rounds · length · chunk, plus a sort.

    Args:
        width: number of channels of x and y.
        heads: number of heads; all use the same rotations.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence; required if ``buckets`` is not given.
        chunk: maximum distance of a key in the sorted order; default: 64.
        rounds: number of rounds of hashing; default: 2.
        buckets: even numbers whose product is the number of hashes; default: two equal numbers, with a product of at
            least the number of chunks in ``max_length``. With ``()``, all positions have the same hash.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Buffers:
        rotations [rounds, width / heads, sum(buckets) / 2] (R), redrawn in each forward pass in training.

    Raises:
        ValueError: neither ``max_length`` nor ``buckets`` is given, or ``buckets`` contains an odd number.

    Example:
        >>> ReformerAttention(8, heads=2, chunk=4, buckets=(4,))(torch.randn(3, 17, 8)).shape
        torch.Size([3, 17, 8])
    """

    rotations: Tensor

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        max_length: int | None = None,
        chunk: int = 64,
        rounds: int = 2,
        buckets: Sequence[int] | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(width, heads, causal=causal, max_length=max_length, projections=2)
        self.chunk = positive_integer("chunk", chunk)
        if buckets is None:
            buckets = 2 * (2 * math.ceil(math.sqrt(self._require_max_length() / chunk) / 2),)
        if any(positive_integer("buckets", size) % 2 for size in buckets):
            raise UserError(f"buckets must be even numbers (a rotation and its opposite), got {tuple(buckets)}")
        self.buckets = tuple(buckets)
        rotations = torch.randn(positive_integer("rounds", rounds), width // heads, sum(buckets) // 2)
        self.register_buffer("rotations", rotations)

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, v = heads
        if self.training:
            self.rotations.normal_()
        time = q.shape[2]
        q, v, real = (split(x, self.chunk).flatten(2, 3) for x in (q, v, make_key_mask(mask, q)))
        hashes = self._compute_hashes(q).masked_fill(
            ~real.transpose(-1, -2), math.prod(self.buckets)
        )  # padding comes last
        order = hashes.argsort(dim=-1, stable=True)
        place = order.argsort(dim=-1)
        position = torch.arange(q.shape[2], device=q.device).expand_as(hashes[:, :, :1])
        # All that decides whether one position attends to another, [batch, heads, time, 2 + 2 · rounds].
        marks = torch.cat([position, real.squeeze(-1)[:, :, None].expand_as(position), hashes, place], 2)
        marks, keys = marks.transpose(-1, -2), F.normalize(q, dim=-1)
        parts = []
        for number in range(len(self.rotations)):
            y, log_total = self._attend_round(number, *(_reorder(x, order[:, :, number]) for x in (q, keys, v, marks)))
            back = place[:, :, number]
            parts.append((_reorder(y, back), _reorder(log_total, back)))
        return merge(parts)[:, :, :time]

    def _compute_hashes(self, q: Tensor) -> Tensor:
        """Compute the hashes, [batch, heads, rounds, time], below the product of ``buckets``."""
        rotated = q.detach()[:, :, None] @ self.rotations.to(q.dtype)
        hashes = torch.zeros(rotated.shape[:-1], dtype=torch.long, device=q.device)
        for size, part in zip(self.buckets, rotated.split([size // 2 for size in self.buckets], -1), strict=True):
            hashes = hashes * size + torch.cat([part, -part], -1).argmax(-1)
        return hashes

    def _attend_round(self, number: int, q: Tensor, k: Tensor, v: Tensor, marks: Tensor) -> Part:
        """Attend along the sorted order of one round; all arguments are in that order."""
        after = 0 if self.causal else 1
        q, k, v, mine = (split(x, self.chunk) for x in (q, k, v, marks))
        k, v, theirs = (gather_neighbours(x, 1, after) for x in (k, v, mine))
        position, real, *rest = zip(_split_columns(mine, -1), _split_columns(theirs, -2), strict=True)
        hashes, places = rest[: len(self.rotations)], rest[len(self.rotations) :]
        meets = [self._is_near(*hash_pair, *place_pair) for hash_pair, place_pair in zip(hashes, places, strict=True)]
        allowed = meets[number] & real[1].bool()
        if self.causal:
            allowed = allowed & (position[1] <= position[0])
        times = torch.stack(meets).sum(0).clamp(min=1)
        bias = -times.to(torch.float32).log() - SELF_PENALTY * (position[0] == position[1])
        y, log_total = attend(q, k, v, allowed, bias)
        return y.flatten(2, 3), log_total.flatten(2, 3)

    def _is_near(self, my_hash: Tensor, their_hash: Tensor, my_place: Tensor, their_place: Tensor) -> Tensor:
        return (my_hash == their_hash) & ((their_place - my_place).abs() <= self.chunk)


def _split_columns(marks: Tensor, dim: int) -> tuple[Tensor, ...]:
    return tuple(column.unsqueeze(dim) for column in marks.unbind(-1))


def _reorder(x: Tensor, at: Tensor) -> Tensor:
    """Reorder x [batch, heads, time, channels] by ``at`` [batch, heads, time]."""
    return x.gather(2, at[..., None].expand(*at.shape, x.shape[-1]))
