"""The plain loop over time: slow and obvious; every other backend is tested against it."""

from functools import partial

import torch

from remanence.errors import UserError
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.trace import Step
from remanence.ops.time_loop import loop_over_time


def scan(step: Step, inputs: Tensors, state: Tensors, params: Tensors) -> tuple[Tensors, Tensors]:
    """Compute the states after every step, [batch, time, ...] each, and after the last, [batch, ...] each."""
    if torch.compiler.is_exporting():
        params = tuple(p.clone() for p in params)  # a loop in a graph takes no views of one tensor
    return loop_over_time(partial(_advance, step, params), state, inputs)


def _advance(step: Step, params: Tensors, state: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
    new = check_result(tuple(step(state, inputs, params)), state)
    return new, new


def check_result(new: Tensors, old: Tensors) -> Tensors:
    """Return the new state; raise a ``ValueError`` unless dtypes and shapes are those of the old one."""
    expected, came = ([(x.dtype, list(x.shape)) for x in tensors] for tensors in (old, new))
    if expected != came:
        raise UserError(f"the step must return a state like the one it got, {expected}, but returned {came}")
    return new
