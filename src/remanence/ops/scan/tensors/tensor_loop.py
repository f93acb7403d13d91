"""The loop over time around a traced step on tensors, with its backward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from remanence.ops.scan import reference
from remanence.ops.scan.fused_loop import select_last
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.tensors import cpu
from remanence.ops.scan.tensors.kernels import choose_block_width, compile_both, compile_forward
from remanence.ops.scan.tensors.tensor_trace import StepRecord, TracedTensorStep


@dataclass(frozen=True)
class TensorLoop:
    """The loop over time around a traced step, an :class:`remanence.ops.dispatch.OperationKernel`.

    Attributes:
        traced: the step.
        every: save every k-th state and recompute the others; None: save all.
    """

    traced: TracedTensorStep
    every: int | None = None

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[Tensors, tuple[Tensor | None, ...]]:
        """Compute the states over time, and those after the last step."""
        state, inputs, params = self.traced.split(tensors)
        if needs is None or self.every is not None:
            recorded, compiled = self.traced.forward, compile_forward(self.traced, self._choose_block_width(state))
        else:
            recorded, compiled = self.traced.backward, compile_both(self.traced, self._choose_block_width(state))[0]
        states, saved = cpu.forward(compiled, inputs, state, _evaluate_free(recorded, params))
        residuals: tuple[Tensor | None, ...] = ()
        if needs is not None and self.every is None:
            residuals = (*states, saved)
        elif needs is not None and self.every is not None:
            residuals = tuple(over_time[:, self.every - 1 :: self.every].clone() for over_time in states)
        return (*states, *select_last(states)), residuals

    def backward(
        self, tensors: Sequence[Tensor], residuals: Sequence[Any], grads: Sequence[Tensor | None], needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        """Compute the gradients of states, inputs and params."""
        state, inputs, params = self.traced.split(tensors)
        recorded = self.traced.backward
        values = recorded.program.run(params)
        free = [values.get(ref) for ref in recorded.free]
        above = grads[: len(state)], grads[len(state) :]
        if self.every is None:
            *states, saved = residuals
            # The number of threads may have changed; the saved tensor has the number of samples in a block.
            back = compile_both(self.traced, self._choose_block_width(state) if saved is None else saved.shape[-1])[1]
            of_state, of_inputs, totals = cpu.backward(back, inputs, state, free, tuple(states), saved, *above)
        else:
            of_state, of_inputs, totals = self._backward_by_segments(inputs, state, free, residuals, *above)
        for index, total in enumerate(totals):
            values.put_total(index, total)
        recorded.after.run_on(values)
        of_params = [None if ref is None else values.get(ref) for ref in recorded.results]
        return [*of_state, *of_inputs, *of_params]

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
        forward, backward = compile_both(self.traced, self._choose_block_width(state))
        time = inputs[0].shape[1]
        of_inputs = tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in inputs)
        carried: Sequence[Tensor | None] = grad_final
        totals: list[Tensor] = []
        for number in reversed(range(-(-time // self.every))):
            part = slice(number * self.every, min((number + 1) * self.every, time))
            start = tuple(anchor[:, number - 1] for anchor in anchors) if number else state
            segment = tuple(x[:, part] for x in inputs)
            states, saved = cpu.forward(forward, segment, start, free)
            above = [None if g is None else g[:, part] for g in grad_states]
            carried, of_segment, more = cpu.backward(backward, segment, start, free, states, saved, above, carried)
            for whole, piece in zip(of_inputs, of_segment, strict=True):
                whole[:, part] = piece
            totals = [a + b for a, b in zip(totals, more, strict=True)] if totals else more
        return tuple(carried), of_inputs, totals  # type: ignore[return-value]

    def reference(self, *tensors: Tensor) -> Tensors:
        """Run the plain loop."""
        state, inputs, params = self.traced.split(tensors)
        states, final = reference.scan(self.traced.step, inputs, state, params)
        return *states, *final

    def _choose_block_width(self, state: Tensors) -> int:
        return choose_block_width(self.traced.dtype, len(state[0]), torch.get_num_threads())


def _evaluate_free(recorded: StepRecord, params: Tensors) -> list[Tensor]:
    values = recorded.program.run(params)
    return [values.get(ref) for ref in recorded.free]
