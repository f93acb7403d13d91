"""Resets within a sequence: a step around the step that returns to the initial state."""

from torch import Tensor

from remanence.ops.episodes import begin_anew
from remanence.ops.scan.layout import INPUTS, Group, Tensors, unbind_group
from remanence.ops.scan.trace import Step


def add_reset(step: Step, inputs: Group, first: Tensors, reset: Tensor) -> tuple[Step, tuple[Tensor, ...]]:
    """Wrap a step so that it starts from ``first`` where ``reset`` is true; also return its inputs.

    Args:
        step: ``step(state, inputs, params)``, as in :func:`remanence.scan`.
        inputs: inputs of the step, as in :func:`remanence.scan`.
        first: state that a reset restores, [batch, ...] each.
        reset: where a sample is reset before the step, [batch, time], bool.
    """
    given = unbind_group(inputs, INPUTS)
    like, time = given[0], reset.shape[1]
    now = reset.to(like.dtype)
    if like.ndim == 3 and all(s.shape[1:] == like.shape[2:] for s in first):  # as a pointwise step has it
        now = now[..., None].expand(like.shape)
    over_time = [s[:, None].expand(-1, time, *s.shape[1:]) for s in first]
    return _make_resetting_step(step, len(given)), (*given, now, *over_time)


def _make_resetting_step(step: Step, count: int) -> Step:
    def run(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
        now, first = inputs[count], inputs[count + 1 :]
        begun = tuple(begin_anew(now != 0, s0, s) for s, s0 in zip(state, first, strict=True))
        return step(begun, inputs[:count], params)

    return run
