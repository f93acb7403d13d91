"""A memory as a pointwise step."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class PointwiseForm(NamedTuple):
    """A layer as a step of ``weight @ x`` that is pointwise over units; its output is the first state.

    Attributes:
        step: as of :func:`remanence.scan`. With timespans it takes them as its last input.
        weight: [inputs · hidden_size, input_size], all units of the first input first.
        params: [params, hidden_size].
    """

    step: Callable[..., tuple[Tensor, ...]]
    weight: Tensor
    params: Tensor
