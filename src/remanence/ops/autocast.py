"""Autocast for recurrences: they are computed in float32 at least, as torch's own losses and norms are."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from remanence._torch import computes_in

_HALF = (torch.bfloat16, torch.float16)


def is_enabled(device: torch.device) -> bool:
    """Return whether autocast is enabled for a device; False for a device without autocast, such as meta."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def widen(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Convert 16-bit tensors to float32 under autocast; return all others unchanged."""
    return tuple(x.float() if x.dtype in _HALF and is_enabled(x.device) else x for x in tensors)


def disable(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which autocast is off, on any device."""
    return torch.autocast(device.type, enabled=False) if is_enabled(device) else nullcontext()


def lacks_fused_lstm(device: torch.device) -> bool:
    """Return whether ``torch.nn.LSTM`` would fail under autocast: oneDNN has no 16-bit LSTM for this CPU."""
    if device.type != "cpu" or not is_enabled(device) or not torch.backends.mkldnn.is_available():
        return False
    return not computes_in(torch.get_autocast_dtype("cpu"))
