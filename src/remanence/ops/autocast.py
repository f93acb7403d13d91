"""What autocast means for a recurrence: it is computed in float32 at least, as torch's own losses and norms are."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from remanence._torch import computes_in

_HALF = (torch.bfloat16, torch.float16)


def is_on(device: torch.device) -> bool:
    """Whether autocast is enabled for this device; never for one that knows no autocast, such as meta."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def widen(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The tensors as they are; under autocast those of 16 bits in float32."""
    return tuple(x.float() if x.dtype in _HALF and is_on(x.device) else x for x in tensors)


def off(device: torch.device) -> AbstractContextManager[Any]:
    """A context without autocast, on any device."""
    return torch.autocast(device.type, enabled=False) if torch.amp.is_autocast_available(device.type) else nullcontext()


def lacks_fused_lstm(device: torch.device) -> bool:
    """Whether autocast would hand ``torch.nn.LSTM`` to a oneDNN that has no such LSTM for this CPU."""
    if device.type != "cpu" or not is_on(device) or not torch.backends.mkldnn.is_available():
        return False
    return not computes_in(torch.get_autocast_dtype("cpu"))
