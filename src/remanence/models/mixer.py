"""Mixers of a transformer by name: attention, or a memory in its place."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from remanence.nn import attention, create, layers
from remanence.registry import make_unknown_error


class MemoryMixer(nn.Module):
    """A memory where a transformer has attention: run over the sequence, or, unless causal, one forwards and another
    backwards, their outputs joined; then projected to ``width``.

    Args:
        name: the name of the memory.
        width: number of channels of input and output.
        causal: whether position t sees only positions up to t.
        hidden_size: units of each memory; default: ``width``, half of it for each of two.
        options: what else the memory takes.
    """

    def __init__(self, name: str, width: int, *, causal: bool, hidden_size: int | None = None, **options: Any):
        super().__init__()
        size = hidden_size or (width if causal else max(1, width // 2))
        memories = [create(name, input_size=width, hidden_size=size, **options) for _ in range(1 if causal else 2)]
        self.memories = nn.ModuleList(memories)
        self.project_out = nn.Linear(sum(memory.output_size for memory in memories), width, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None, reset: Tensor | None = None) -> Tensor:
        """Mix x [batch, time, width].

        ``mask`` [batch, time] marks the real positions of each sequence, ``reset`` [batch, time] those at which an
        episode begins: nothing passes from one to another, in either direction.
        """
        forwards, *backwards = self.memories
        outputs = [forwards(x, reset=reset)[0]]
        if backwards and reset is not None:
            ends = nn.functional.pad(reset[:, 1:], (0, 1), value=False)
            reset = reverse_sequences(ends[..., None], mask)[..., 0]
        for memory in backwards:
            y, _ = memory(reverse_sequences(x, mask), reset=reset)
            outputs.append(reverse_sequences(y, mask))
        return self.project_out(torch.cat(outputs, -1))


def reverse_sequences(x: Tensor, mask: Tensor | None) -> Tensor:
    """Reverse each sequence of x [batch, time, channels], leaving padding in place."""
    if mask is None:
        return x.flip(1)
    position, length = torch.arange(x.shape[1], device=x.device), mask.sum(1, keepdim=True)
    source = torch.where(mask, length - 1 - position, position)
    return x.gather(1, source[..., None].expand_as(x))


def build_mixer(
    name: str, width: int, *, heads: int, causal: bool, max_length: int, options: Mapping[str, Any]
) -> attention.Attention | MemoryMixer:
    """Build attention or a memory by name.

    Raises:
        ValueError: no such mixer (the message names the nearest), or an argument it refuses.
    """
    if not is_attention(name):
        return MemoryMixer(name, width, causal=causal, **options)
    return attention.create(name, width=width, heads=heads, causal=causal, max_length=max_length, **options)


def is_attention(name: str) -> bool:
    """Whether ``name`` is attention rather than a memory."""
    if ":" in name:
        factory = layers[name]
        return isinstance(factory, type) and issubclass(factory, attention.Attention)
    if name not in {*attention.methods, *layers}:
        raise make_unknown_error("mixer", name, {*attention.methods, *layers})
    return name in attention.methods
