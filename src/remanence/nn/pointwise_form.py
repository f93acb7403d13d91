"""The form in which a memory gives its pointwise step to an online scan."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class PointwiseForm(NamedTuple):
    """A layer as a step of ``weight @ x`` that is pointwise over units; its output is the first state.

    Attributes:
        step: the step, as :func:`remanence.scan` takes it. If there are timespans, they are its last input.
        weight: weights [inputs · hidden_size, input_size]; the rows of the first input of the step come first.
        params: parameters of the step, [params, hidden_size].
    """

    step: Callable[..., tuple[Tensor, ...]]
    weight: Tensor
    params: Tensor
