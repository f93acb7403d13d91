"""The loop over time of the references: plain Python, or one node where ``torch.export`` records it."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from remanence import _torch
from remanence.ops.dispatch import warn_once

Tensors: TypeAlias = tuple[Tensor, ...]
TimeStep: TypeAlias = Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]
"""``step(state, inputs) -> (state, outputs)`` of one time step."""


def loop_over_time(step: TimeStep, state: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensors, Tensors]:
    """Run a step over time.

    An exported graph contains the loop as one node (``torch.ops.higher_order.scan``), and so runs for any number of
    time steps from 1 on; if PyTorch cannot make one of the step, the loop is unrolled at the length of the example.

    Args:
        step: function of the state and the inputs of a time step that returns the new state and the outputs.
        state: tensors of the state before the first step.
        inputs: one or more tensors, whose second dimension is time.

    Returns:
        The outputs of every step, time in the second dimension, and the state after the last.
    """
    state, inputs = tuple(state), tuple(inputs)
    if not torch.compiler.is_exporting() or _torch.is_known_to_be(inputs[0].shape[1], 1):
        return _unroll(step, state, inputs)
    if torch.compiler.is_dynamo_compiling():  # torch.export(strict=True), where nothing can be tried
        return _record(step, state, inputs)
    try:
        return _record(step, state, inputs)
    except Exception as error:
        results = _unroll(step, state, inputs)
        why = str(error).strip().partition("\n\n")[2].partition("\n")[0]
        warn_once(f"torch.export records a loop over time unrolled, at the length of the example: {why}")
        return results


def _unroll(step: TimeStep, state: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
    history = []
    # unbind: indexing x[:, t] would make the backward pass quadratic in time.
    for inputs_t in zip(*(x.unbind(1) for x in inputs), strict=True):
        state, outputs_t = step(state, inputs_t)
        history.append(outputs_t)
    return tuple(torch.stack(over_time, 1) for over_time in zip(*history, strict=True)), state


def _record(step: TimeStep, state: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
    outputs, final = _torch.scan_node(step, state, tuple(x.transpose(0, 1) for x in inputs))
    return tuple(y.transpose(0, 1) for y in outputs), final
