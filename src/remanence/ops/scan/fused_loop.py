"""The loop over time around a traced step, with its backward pass, on any backend."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from remanence.ops.scan import reference
from remanence.ops.scan.backend import ScanBackend
from remanence.ops.scan.layout import INPUTS, PARAMS, Gradients, Group, Layout, Tensors, unbind_group
from remanence.ops.scan.trace import TracedStep


@dataclass(frozen=True)
class FusedLoop:
    """The loop over time around a traced step, an :class:`remanence.ops.dispatch.OperationKernel`.

    Attributes:
        backend: runs the loop.
        traced: the step.
        layout: the order of states, inputs and params in the tensors.
        every: save every k-th state only and recompute the others; None to save all.
    """

    backend: ScanBackend
    traced: TracedStep
    layout: Layout
    every: int | None

    def forward(self, tensors: Sequence[Tensor], needs: Sequence[bool] | None) -> tuple[Tensors, Tensors]:
        """Compute the states over time, and those after the last step."""
        state, inputs, params = self.layout.split(tensors)
        states = self.backend.forward(self.traced, inputs, state, params)
        residuals: Tensors = ()
        if needs is not None:
            every = self.every
            residuals = (
                states if every is None else tuple(over_time[:, every - 1 :: every].clone() for over_time in states)
            )
        return (*states, *select_last(states)), residuals

    def backward(
        self,
        tensors: Sequence[Tensor],
        residuals: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Compute the gradients of states, inputs and params."""
        state, inputs, params = self.layout.split(tensors)
        above = grads[: len(state)], grads[len(state) :]
        arguments = (self.traced, self.layout.expand_flags(needs), (inputs, state, params), tuple(residuals))
        if self.every is None:
            return self.layout.join(self.backend.backward(*arguments, *above))
        return self.layout.join(_backward_by_segments(self.backend, *arguments, *above, self.every))

    def reference(self, *tensors: Tensor) -> Tensors:
        """Run the plain loop."""
        state, inputs, params = self.layout.split(tensors)
        states, final = reference.scan(self.traced.step, inputs, state, unbind_group(params, PARAMS))
        return *states, *final


def select_last(states: Tensors) -> Tensors:
    """Return the state after the last step, as copies that do not keep the whole sequence alive."""
    return tuple(torch.select_copy(over_time, 1, -1) for over_time in states)


def _backward_by_segments(
    backend: ScanBackend,
    traced: TracedStep,
    needs: Sequence[bool],
    primals: tuple[Tensors, Tensors, Group],
    anchors: Sequence[Tensor],
    grad_states: Sequence[Tensor | None],
    grad_final: Sequence[Tensor | None],
    every: int,
) -> Gradients:
    """Run the backward pass from every k-th state: the last segment first, its states recomputed."""
    inputs, state, params = primals
    states, time = traced.counts[0], inputs[0].shape[1]
    needs = [True] * states + list(needs[states:])
    of_inputs = [torch.empty_like(x) if need else None for x, need in zip(inputs, needs[states:], strict=False)]
    of_params: list[Tensor | None] = [None] * len(params)
    carried: Sequence[Tensor | None] = grad_final
    for number in reversed(range(-(-time // every))):
        part = slice(number * every, min((number + 1) * every, time))
        start = tuple(anchor[:, number - 1] for anchor in anchors) if number else state
        segment = tuple(x[:, part] for x in inputs)
        anew = backend.forward(traced, segment, start, params)
        above = [None if g is None else g[:, part] for g in grad_states]
        grads = backend.backward(traced, needs, (segment, start, params), anew, above, carried)
        carried = grads.state
        for whole, piece in zip(of_inputs, unbind_group(grads.inputs, INPUTS), strict=True):
            if whole is not None and piece is not None:
                whole[:, part] = piece
        of_params = [
            _add_gradient(total, g) for total, g in zip(of_params, unbind_group(grads.params, PARAMS), strict=True)
        ]
    dtype = inputs[0].dtype
    return Gradients(tuple(carried), tuple(of_inputs), tuple(g if g is None else g.to(dtype) for g in of_params))


def _add_gradient(total: Tensor | None, term: Tensor | None) -> Tensor | None:
    """Add a gradient of a parameter to a total, in float32 at least."""
    if term is None:
        return None
    wide = term.to(torch.promote_types(term.dtype, torch.float32))
    return wide if total is None else total + wide
