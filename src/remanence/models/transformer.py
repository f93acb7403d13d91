"""A transformer whose attention can be a memory."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.models.block import Block
from remanence.models.lra import get_configuration
from remanence.models.mixer import MemoryMixer
from remanence.models.mixer import build_mixer as create_mixer
from remanence.models.sequence import build_encoder, build_perceptron

POOLINGS = ("cls", "mean", "last", "none")
POSITIONS = ("learned", "sinusoidal", "none")


class Transformer(nn.Module):
    """Embedding, positions, blocks (:class:`remanence.models.block.Block`), a norm, pooling, readout.

    What lets positions see each other is ``mixer``: attention, or any memory; unless causal, a memory reads both ways.
    Sequences of different lengths are padded at the end and told by a mask; each gives what it gives unpadded.

    Args:
        target_size: outputs.
        vocabulary_size: tokens come in, as many different ones; or
        input_size: channels of a signal. Exactly one of the two.
        mixer: ``"full"`` (default), another name from ``remanence list``, or ``package.module:Class``.
        mixer_options: what the mixer takes besides; for a memory ``hidden_size`` too, which is ``width`` by default,
            half of it for each of the two that read both ways.
        layers: blocks; default: 4.
        width: channels between the blocks; default: 128.
        heads: the number of attention heads (memories have none); default: 4.
        mlp: hidden units of each block's MLP; default: four times ``width``.
        max_length: longest sequence; default: 1024.
        causal: whether position t sees only positions up to t; default: False.
        pooling: ``"cls"`` (default), the output at a learnt token put before the sequence; ``"mean"``; ``"last"``; or
            ``"none"``, an output for each position.
        positions: what is added to the embedding: ``"learned"`` (default), ``"sinusoidal"`` (Vaswani et al. 2017,
            section 3.5) or ``"none"``, which is enough for a memory.
        readout: sizes of hidden layers between pooling and outputs, each with a ReLU; default: none.
        dropout: after the embedding and in the blocks; default: 0.
        pairs: two sequences are read, each by itself, and their poolings joined for the readout.

    Raises:
        ValueError: an unknown mixer, pooling or kind of positions, CLS pooling in a causal model, pairs without
            pooling, or a size that does not fit.

    Example:
        >>> model = Transformer(10, vocabulary_size=17, mixer="cff", layers=2, width=16)
        >>> mask = torch.arange(9) < torch.tensor([[9], [4]])
        >>> model(torch.zeros(2, 9, dtype=torch.long), mask).shape
        torch.Size([2, 10])
    """

    positions: Tensor | None

    def __init__(
        self,
        target_size: int,
        *,
        vocabulary_size: int | None = None,
        input_size: int | None = None,
        mixer: str = "full",
        mixer_options: Mapping[str, Any] | None = None,
        layers: int = 4,
        width: int = 128,
        heads: int = 4,
        mlp: int | None = None,
        max_length: int = 1024,
        causal: bool = False,
        pooling: Literal["cls", "mean", "last", "none"] = "cls",
        positions: Literal["learned", "sinusoidal", "none"] = "learned",
        readout: Sequence[int] = (),
        dropout: float = 0.0,
        pairs: bool = False,
    ):
        super().__init__()
        check_options(pooling, positions, causal=causal, pairs=pairs)
        self.max_length, self.pooling, self.pairs = positive_integer("max_length", max_length), pooling, pairs
        length = max_length + (pooling == "cls")
        self.encoder = build_encoder((width,), vocabulary_size=vocabulary_size, input_size=input_size)
        self.cls = nn.Parameter(torch.zeros(width)) if pooling == "cls" else None
        if positions == "learned":
            self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        else:
            table = make_sinusoidal_positions(length, width) if positions == "sinusoidal" else None
            self.register_buffer("positions", table, persistent=False)
        self.dropout = nn.Dropout(dropout)
        options = {"heads": heads, "causal": causal, "max_length": length, "options": mixer_options or {}}
        self.blocks = nn.ModuleList(
            Block(create_mixer(mixer, width, **options), width, mlp or 4 * width, dropout)
            for _ in range(positive_integer("layers", layers))
        )
        self.norm = nn.LayerNorm(width)
        self.readout = build_perceptron(width * (2 if pairs else 1), *readout, target_size)

    @classmethod
    def lra(cls, task: str, target_size: int, **options: Any) -> "Transformer":
        """Create the base configuration of a task of the Long Range Arena (Tay et al. 2020), as published.

        Args:
            task: ``"listops"``, ``"text"``, ``"aan"``, ``"image"``, ``"pathfinder"`` or ``"pathx"``.
            target_size: classes.
            options: any argument of the class: the input's size, the mixer, or what shall differ from the published.

        Raises:
            ValueError: no such task, or an argument that does not fit.

        Example:
            >>> model = Transformer.lra("image", 10, vocabulary_size=256, mixer="performer")
            >>> len(model.blocks), model.max_length
            (1, 1024)
        """
        return cls(target_size, **{**get_configuration(task), **options})

    def forward(
        self,
        x: Shaped[Tensor, "batch *pair_time_channels"],
        mask: Bool[Tensor, "batch *pair_time"] | None = None,
        reset: Bool[Tensor, "batch *pair_time"] | None = None,
    ) -> Float[Tensor, "batch *time target"]:
        """Run the model.

        Args:
            x: tokens [batch, time] or a signal [batch, time, input_size]; with ``pairs`` [batch, 2, time, ...].
            mask: which positions are real, [batch, time], or [batch, 2, time]; padding comes last. Default: all.
            reset: at which positions an episode begins, of the mask's shape: memories as mixers pass nothing from one
                episode to another. Default: at none.

        Returns:
            Outputs [batch, target_size], or without pooling [batch, time, target_size].

        Raises:
            ValueError: a sequence longer than ``max_length``, a mask of another shape or with padding inside, or
                resets for attention or for a model with a CLS token, which see all episodes.
        """
        if not self.pairs:
            return self.readout(self._encode(x, mask, reset))
        if x.ndim < 3 or x.shape[1] != 2:
            raise UserError(f"a model of pairs expects x [batch, 2, time, ...], got {list(x.shape)}")
        parts = (None if part is None else part.flatten(0, 1) for part in (mask, reset))
        both = self._encode(x.flatten(0, 1), *parts)
        return self.readout(both.unflatten(0, (-1, 2)).flatten(1))

    def _encode(self, x: Tensor, mask: Tensor | None, reset: Tensor | None) -> Tensor:
        """Return [batch, width], or without pooling [batch, time, width]."""
        if not 1 <= x.shape[1] <= self.max_length:
            raise UserError(f"the model was built for 1 to {self.max_length} positions (max_length), got {x.shape[1]}")
        if mask is not None:
            check_mask(mask, x)
        if reset is not None:
            self._check_reset()
        x = self.encoder(x)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(x.shape[0], 1, -1), x], 1)
            mask = None if mask is None else nn.functional.pad(mask, (1, 0), value=True)
        if self.positions is not None:
            x = x + self.positions[: x.shape[1]]
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, mask, reset)
        return self._pool(self.norm(x), mask)

    def _check_reset(self) -> None:
        """Raise a ``ValueError`` if positions of different episodes would see each other."""
        if self.cls is not None:
            raise UserError("the CLS token sees all episodes: with reset, pooling must be 'none', 'last' or 'mean'")
        if not all(isinstance(block.mixer, MemoryMixer) for block in self.blocks):
            raise UserError("attention has no state that could be reset: with reset use a memory as the mixer")

    def _pool(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.pooling == "none":
            return x
        if self.pooling == "cls":
            return x[:, 0]
        if mask is None:
            return x.mean(1) if self.pooling == "mean" else x[:, -1]
        length = mask.sum(1, keepdim=True).clamp(min=1)
        if self.pooling == "mean":
            return x.masked_fill(~mask[..., None], 0).sum(1) / length
        return x.take_along_dim(length[..., None] - 1, 1)[:, 0]


def check_options(pooling: str, positions: str, *, causal: bool, pairs: bool) -> None:
    """Raise a ``ValueError`` for choices that do not exist or do not go together."""
    for name, value, known in (("pooling", pooling, POOLINGS), ("positions", positions, POSITIONS)):
        if value not in known:
            raise UserError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if causal and pooling == "cls":
        raise UserError(
            "the first token of a causal model attends to no other: use pooling='last' or 'mean', not 'cls'"
        )
    if pairs and pooling == "none":
        raise UserError("pairs are compared by one vector each: pooling='cls', 'mean' or 'last' instead of 'none'")


def check_mask(mask: Tensor, x: Tensor) -> None:
    """Raise a ``ValueError`` unless ``mask`` says for each position of x whether it is real, the real ones first."""
    if mask.shape != x.shape[:2]:
        raise UserError(f"expected a mask {list(x.shape[:2])}, one for each position, got {list(mask.shape)}")
    if (mask[:, 1:] & ~mask[:, :-1]).any():
        raise UserError("padding must come after the sequence: a mask has True first, then False")


def make_sinusoidal_positions(length: int, width: int) -> Tensor:
    """Compute ``sin(t / 10000^(2i/width))`` in channel 2i, the cosine in channel 2i + 1: [length, width]."""
    channel = torch.arange(width)
    angle = torch.arange(length)[:, None] / 10000 ** (2 * (channel // 2) / width)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())
