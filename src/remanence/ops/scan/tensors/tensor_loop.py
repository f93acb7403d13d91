"""The loop over time around a traced step on tensors, with its backward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from remanence.ops import autocast
from remanence.ops.scan import reference
from remanence.ops.scan.fused_loop import select_last
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.tensors.program import Values
from remanence.ops.scan.tensors.tensor_backend import TensorBackend
from remanence.ops.scan.tensors.tensor_trace import StepRecord, TracedTensorStep


@dataclass(frozen=True)
class TensorLoop:
    """The loop over time around a traced step, an :class:`remanence.ops.dispatch.OperationKernel`.

    Attributes:
        backend: runs the loop.
        traced: the step.
        every: save every k-th state only and recompute the others; None to save all.
    """

    backend: TensorBackend
    traced: TracedTensorStep
    every: int | None = None

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[Tensors, tuple[Tensor | None, ...]]:
        """Compute the states over time, and those after the last step."""
        state, inputs, params = self.traced.split(tensors)
        save = needs is not None and self.every is None
        recorded = self.traced.backward if save else self.traced.forward
        with autocast.disable(inputs[0].device):
            free = _list_free(recorded, self._run_program(recorded, params, inputs[0]))
            states, saved = self.backend.forward(self.traced, inputs, state, free, save=save)
        residuals: tuple[Tensor | None, ...] = ()
        if save:
            residuals = (*states, *saved)
        elif needs is not None and self.every is not None:
            residuals = tuple(over_time[:, self.every - 1 :: self.every].clone() for over_time in states)
        return (*states, *select_last(states)), residuals

    def backward(
        self, tensors: Sequence[Tensor], residuals: Sequence[Any], grads: Sequence[Tensor | None], needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        """Compute the gradients of states, inputs and params."""
        with autocast.disable(tensors[0].device):
            return self._backward(tensors, residuals, grads)

    def _backward(
        self, tensors: Sequence[Tensor], residuals: Sequence[Any], grads: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        state, inputs, params = self.traced.split(tensors)
        recorded = self.traced.backward
        values = self._run_program(recorded, params, inputs[0])
        free = _list_free(recorded, values)
        count = len(state)
        above = grads[:count], grads[count:]
        if self.every is None:
            states, saved = tuple(residuals[:count]), tuple(residuals[count:])
            results = self.backend.backward(self.traced, inputs, state, free, states, saved, *above)
        else:
            results = self._backward_by_segments(inputs, state, free, residuals, *above)
        of_state, of_inputs, totals = results
        for index, total in enumerate(totals):
            values.put_total(index, total)
        recorded.after.run_on(values)
        of_params = [None if ref is None else values.get(ref) for ref in recorded.results]
        # The arithmetic is at least in float32.
        return [
            None if grad is None else grad.to(x.dtype)
            for grad, x in zip((*of_state, *of_inputs, *of_params), tensors, strict=True)
        ]

    def _backward_by_segments(
        self,
        inputs: Tensors,
        state: Tensors,
        free: Sequence[Tensor],
        anchors: Sequence[Tensor],
        grad_states: Sequence[Tensor | None],
        grad_final: Sequence[Tensor | None],
    ) -> tuple[Tensors, Tensors, list[Tensor]]:
        """Run the backward pass from every k-th state: the last segment first, its states recomputed."""
        assert self.every is not None
        time = inputs[0].shape[1]
        of_inputs = tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in inputs)
        carried: Sequence[Tensor | None] = grad_final
        totals: list[Tensor] = []
        for number in reversed(range(-(-time // self.every))):
            part = slice(number * self.every, min((number + 1) * self.every, time))
            start = tuple(anchor[:, number - 1] for anchor in anchors) if number else state
            given = self.traced, tuple(x[:, part] for x in inputs), start, free
            above = [None if g is None else g[:, part] for g in grad_states]
            states, saved = self.backend.forward(*given, save=True)
            carried, of_segment, more = self.backend.backward(*given, states, saved, above, carried)
            for whole, piece in zip(of_inputs, of_segment, strict=True):
                whole[:, part] = piece
            totals = [a + b for a, b in zip(totals, more, strict=True)] if totals else more
        return tuple(carried), of_inputs, totals  # type: ignore[return-value]

    def reference(self, *tensors: Tensor) -> Tensors:
        """Run the plain loop."""
        state, inputs, params = self.traced.split(tensors)
        states, final = reference.scan(self.traced.step, inputs, state, params)
        return *states, *final

    def _run_program(self, recorded: StepRecord, params: Tensors, like: Tensor) -> Values:
        """Run what depends on the params alone, in the dtype of the trace."""
        return recorded.program.run([p.to(self.traced.dtype) for p in params], like.device)


def _list_free(recorded: StepRecord, values: Values) -> list[Tensor]:
    return [values.get(ref) for ref in recorded.free]
