"""Resets within a sequence: a step around the step that returns to the initial state."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.errors import UserError
from remanence.ops.scan.layout import INPUTS, Tensors, unbind_group
from remanence.ops.scan.trace import Step


def add_reset(
    step: Step, inputs: Sequence[Tensor] | Tensor, state: Tensors, reset: Tensor
) -> tuple[Step, tuple[Tensor, ...]]:
    """Wrap a step so that it starts from the initial state where ``reset`` is true.

    Args:
        step: ``step(state, inputs, params)``.
        inputs: as of :func:`remanence.scan`.
        state: before the first step.
        reset: [batch, time], bool.

    Raises:
        ValueError: a reset of another shape or dtype.
    """
    given = unbind_group(inputs if isinstance(inputs, Tensor) else tuple(inputs), INPUTS)
    fits = isinstance(reset, Tensor) and reset.dtype == torch.bool and given and reset.shape == given[0].shape[:2]
    if not fits:
        expected = f"[batch, time] = {list(given[0].shape[:2])}" if given else "[batch, time]"
        came = f"{list(reset.shape)} of {reset.dtype}" if isinstance(reset, Tensor) else repr(reset)
        raise UserError(f"reset must be {expected} of torch.bool, got {came}")
    like, time = given[0], reset.shape[1]
    now = reset.to(like.dtype)
    if like.ndim == 3 and all(s.shape[1:] == like.shape[2:] for s in state):  # as a pointwise step has it
        now = now[..., None].expand(like.shape)
    first = [s[:, None].expand(len(s), time, *s.shape[1:]) for s in state]
    return _wrap_step(step, len(given)), (*given, now, *first)


def _wrap_step(step: Step, count: int) -> Step:
    def run(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
        now, first = inputs[count], inputs[count + 1 :]
        begun = tuple(torch.where(_broadcast_reset(now, s) != 0, s0, s) for s, s0 in zip(state, first, strict=True))
        return step(begun, inputs[:count], params)

    return run


def _broadcast_reset(now: Tensor, state: Tensor) -> Tensor:
    return now if now.ndim == state.ndim else now.reshape(-1, *[1] * (state.ndim - 1))
