"""A scan as one node of the autograd graph, whichever backend computes it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from remanence._kernels import addressing
from remanence.ops import again
from remanence.ops.scan import reference
from remanence.ops.scan.backend import Backend
from remanence.ops.scan.layout import INPUTS, PARAMS, Gradients, Group, Layout, Tensors, flat, parts
from remanence.ops.scan.trace import TracedStep


def differentiable(
    backend: Backend, traced: TracedStep, inputs: Group, state: Tensors, params: Group, every: int | None
) -> tuple[Tensors, Tensors]:
    """States and final state, with gradients where one of the tensors requires one."""
    layout = Layout(traced.counts, isinstance(inputs, Tensor), isinstance(params, Tensor))
    tensors = (*state, *flat(inputs), *flat(params))
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        results = _Scan.apply(backend, traced, layout, every, *tensors)
        return results[: len(state)], results[len(state) :]
    state, one_by_one, params = layout.split(tensors)
    states = backend.forward(traced, one_by_one, state, params)
    return states, last(states)


def last(states: Tensors) -> Tensors:
    """The state after the last step, as copies that do not keep the whole sequence alive."""
    return tuple(torch.select_copy(over_time, 1, -1) for over_time in states)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, backend: Backend, traced: TracedStep, layout: Layout, every: int | None, *tensors: Tensor
    ) -> Tensors:
        state, inputs, params = layout.split(tensors)
        states = backend.forward(traced, inputs, state, params)
        needs = layout.spread(ctx.needs_input_grad[4:])
        traced.vjp(needs)  # now: an operation without a derivative is better refused here than in the backward pass
        ctx.backend, ctx.traced, ctx.layout, ctx.every, ctx.needs = backend, traced, layout, every, needs
        ctx.count = len(tensors)
        kept = states if every is None else tuple(over_time[:, every - 1 :: every].clone() for over_time in states)
        ctx.save_for_backward(*tensors, *kept)
        ctx.set_materialize_grads(False)
        return (*states, *last(states))

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, layout = ctx.saved_tensors, ctx.layout
        tensors, kept = saved[: ctx.count], saved[ctx.count :]
        grads = addressing.resolve(above)
        if again.is_needed(grads):
            return None, None, None, None, *_by_autograd(ctx.traced, layout, tensors, grads)
        state, inputs, params = layout.split(tensors)
        grad_states, grad_final = grads[: len(state)], grads[len(state) :]
        arguments = (ctx.backend, ctx.traced, ctx.needs, (inputs, state, params), kept)
        if ctx.every is None:
            backend, *rest = arguments
            result = backend.backward(*rest, grad_states, grad_final)
        else:
            result = _by_segments(*arguments, grad_states, grad_final, ctx.every)
        return (None, None, None, None, *layout.joined(result))


def _by_autograd(
    traced: TracedStep, layout: Layout, tensors: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> Sequence[Tensor | None]:
    """Gradients that can be differentiated again: those of the plain loop."""

    def loop(*tensors: Tensor) -> Tensors:
        state, inputs, params = layout.split(tensors)
        states, final = reference.scan(traced.step, inputs, state, parts(params, PARAMS))
        return *states, *final

    return again.gradients(loop, grads, tensors)


def _by_segments(
    backend: Backend,
    traced: TracedStep,
    needs: Sequence[bool],
    primals: tuple[Tensors, Tensors, Group],
    anchors: Tensors,
    grad_states: Sequence[Tensor | None],
    grad_final: Sequence[Tensor | None],
    every: int,
) -> Gradients:
    """The backward pass from every k-th state: the last segment first, its states computed anew."""
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
        for whole, piece in zip(of_inputs, parts(grads.inputs, INPUTS), strict=True):
            if whole is not None and piece is not None:
                whole[:, part] = piece
        of_params = [_sum(total, g) for total, g in zip(of_params, parts(grads.params, PARAMS), strict=True)]
    dtype = inputs[0].dtype
    return Gradients(tuple(carried), tuple(of_inputs), tuple(g if g is None else g.to(dtype) for g in of_params))


def _sum(total: Tensor | None, term: Tensor | None) -> Tensor | None:
    """Of parameter gradients, in float32 at least."""
    if term is None:
        return None
    wide = term.to(torch.promote_types(term.dtype, torch.float32))
    return wide if total is None else total + wide
