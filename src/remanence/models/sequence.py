"""Embedding, one memory, readout."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from remanence.errors import UserError
from remanence.nn import Memory


class SequenceModel(nn.Module):
    """Embedding or linear input, a memory, and a readout of its last output, or of each.

    With ``embedding=(50, 100), readout=(100,)`` it is the network of Ba et al. (2016), section 4.1: an embedding of 50,
    then of 100 dimensions, the recurrent layer, 100 ReLUs, and the logits of the softmax.

    Args:
        memory: a layer that takes ``embedding[-1]`` channels (or the input's own, if ``embedding`` is empty).
        target_size: outputs.
        vocabulary_size: tokens come in, as many different ones; or
        input_size: channels of a signal. Exactly one of the two.
        embedding: sizes of the layers before the memory, ReLU between them; tokens need at least one.
        readout: sizes of the hidden layers after it, each with a ReLU.
        pooling: ``"last"`` (default), the output at the last position; or ``"none"``, an output for each position.
        pairs: two sequences are read, each by itself, and their last outputs joined for the readout.

    Raises:
        ValueError: both or neither of ``vocabulary_size`` and ``input_size``, a memory of the wrong input size, an
            unknown pooling, or pairs without pooling.

    Example:
        >>> from remanence.nn import LSTM
        >>> model = SequenceModel(LSTM(100, 20), 10, vocabulary_size=37)
        >>> model(torch.zeros(2, 11, dtype=torch.long)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        memory: Memory,
        target_size: int,
        *,
        vocabulary_size: int | None = None,
        input_size: int | None = None,
        embedding: Sequence[int] = (50, 100),
        readout: Sequence[int] = (100,),
        pooling: Literal["last", "none"] = "last",
        pairs: bool = False,
    ):
        super().__init__()
        if pooling not in ("last", "none") or (pairs and pooling == "none"):
            raise UserError(f"pooling must be last or none, and last for pairs; got {pooling!r}")
        self.encoder = build_encoder(embedding, vocabulary_size=vocabulary_size, input_size=input_size)
        channels = get_encoder_size(embedding, input_size)
        if memory.input_size != channels:
            raise UserError(
                f"the memory must take the {channels} channels of the encoder, it takes {memory.input_size}"
            )
        self.memory, self.pooling, self.pairs = memory, pooling, pairs
        self.readout = build_perceptron(memory.output_size * (2 if pairs else 1), *readout, target_size)

    def forward(
        self,
        x: Shaped[Tensor, "batch *pair_time_channels"],
        mask: Bool[Tensor, "batch *pair_time"] | None = None,
        timespans: Float[Tensor, "batch *pair_time"] | None = None,
        reset: Bool[Tensor, "batch *pair_time"] | None = None,
    ) -> Float[Tensor, "batch *time target"]:
        """Run the model.

        Args:
            x: tokens [batch, time] or a signal [batch, time, input_size]; with ``pairs`` [batch, 2, time, ...].
            mask: which positions are real, [batch, time], or [batch, 2, time]; padding comes last. Default: all.
            timespans: how long each step lasts, of the mask's shape; only for continuous-time memories.
            reset: before which steps the memory returns to its initial state, of the mask's shape; default: never.

        Returns:
            Outputs [batch, target_size], or without pooling [batch, time, target_size].
        """
        if not self.pairs:
            return self.readout(self._read(x, mask, timespans, reset))
        parts = (None if part is None else part.flatten(0, 1) for part in (mask, timespans, reset))
        both = self._read(x.flatten(0, 1), *parts)
        return self.readout(both.unflatten(0, (-1, 2)).flatten(1))

    def _read(self, x: Tensor, mask: Tensor | None, timespans: Tensor | None, reset: Tensor | None) -> Tensor:
        """Return [batch, hidden], or without pooling [batch, time, hidden]."""
        if mask is not None:
            # What is unknown of the padding (NaN, a negative timespan) must not reach the real steps, or gradients.
            x = x.masked_fill(~mask.view(*mask.shape, *[1] * (x.ndim - 2)), 0)
            timespans = None if timespans is None else timespans.masked_fill(~mask, 0)
        given = {name: part for name, part in {"timespans": timespans, "reset": reset}.items() if part is not None}
        y, _ = self.memory(self.encoder(x), **given)
        if self.pooling == "none":
            return y
        # Padding comes last, and the output at t does not depend on later positions.
        return y[:, -1] if mask is None else y[torch.arange(y.shape[0], device=y.device), mask.sum(1) - 1]


def get_encoder_size(embedding: Sequence[int], input_size: int | None) -> int:
    """Return the number of channels of the memory's input.

    Raises:
        ValueError: tokens without an embedding.
    """
    if embedding:
        return embedding[-1]
    if input_size is None:
        raise UserError("tokens need an embedding: give at least one size, e.g. embedding=(50, 100)")
    return input_size


def build_encoder(embedding: Sequence[int], *, vocabulary_size: int | None, input_size: int | None) -> nn.Module:
    """Build the layers from tokens or channels to ``embedding[-1]`` channels, with ReLU between them."""
    if (vocabulary_size is None) == (input_size is None):
        raise UserError("give vocabulary_size (tokens) or input_size (signals), one of the two")
    layers: list[nn.Module] = []
    if vocabulary_size is not None:
        layers.append(nn.Embedding(vocabulary_size, get_encoder_size(embedding[:1], None)))
    else:
        layers += [nn.Linear(first, size) for first, size in zip([input_size or 0], embedding, strict=False)]
    for pair in pairwise(embedding):
        layers += [nn.ReLU(), nn.Linear(*pair)]
    return nn.Sequential(*layers)


def build_perceptron(*sizes: int) -> nn.Sequential:
    """Build linear layers from each size to the next, with ReLU between them."""
    *hidden, last = pairwise(sizes)
    layers = [module for pair in hidden for module in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(*last))
