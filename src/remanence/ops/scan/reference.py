"""The plain loop over time: slow and obvious; every other backend is tested against it."""

import torch

from remanence.errors import UserError
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.trace import Step


def scan(step: Step, inputs: Tensors, state: Tensors, params: Tensors) -> tuple[Tensors, Tensors]:
    """Compute the states after every step, [batch, time, ...] each, and after the last, [batch, ...] each."""
    history: list[Tensors] = []
    # unbind: indexing x[:, t] would make the backward pass quadratic in time.
    for x_t in zip(*(x.unbind(1) for x in inputs), strict=True):
        state = checked_result(tuple(step(state, x_t, params)), state)
        history.append(state)
    states = tuple(torch.stack(over_time, 1) for over_time in zip(*history, strict=True))
    return states, state


def checked_result(new: Tensors, old: Tensors) -> Tensors:
    """Return the new state; raise a ``ValueError`` unless dtypes and shapes are those of the old one."""
    expected, came = ([(x.dtype, list(x.shape)) for x in tensors] for tensors in (old, new))
    if expected != came:
        raise UserError(f"the step must return a state like the one it got, {expected}, but returned {came}")
    return new
