"""Kernels as nodes of the autograd graph; second derivatives by the plain formulas.

A layout is a module with the four functions of :mod:`remanence.ops.ltc.dense`.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from remanence._kernels import addressing
from remanence.ops import again
from remanence.ops.ltc import reference
from remanence.ops.ltc.edges import Edges, Strengths
from remanence.ops.ltc.evolution import Evolution, Kept


def arriving(layout: ModuleType, x: Tensor, edges: Edges, strengths: Strengths) -> tuple[Tensor, Tensor]:
    """:func:`remanence.ops.ltc.reference.arriving` by a kernel."""
    rows = x.flatten(0, -2)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *strengths)):
        sums = _Arriving.apply(layout, edges, rows, *strengths)
    else:
        sums = layout.arriving(rows, edges, strengths)
    conductance, current = (each.unflatten(0, x.shape[:-1]) for each in sums)
    return conductance, current


def evolve(layout: ModuleType, given: Evolution) -> tuple[Tensor, Tensor]:
    """:func:`remanence.ops.ltc.reference.evolve` by a kernel."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given.tensors):
        return _Evolve.apply(layout, given.edges, given.sub_steps, *given.tensors)
    states, _ = layout.evolve(given, keep=False)
    return states, states[:, -1].clone()


class _Arriving(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layout: ModuleType, edges: Edges, x: Tensor, *strengths: Tensor) -> tuple[Tensor, Tensor]:
        ctx.layout, ctx.edges = layout, edges
        ctx.save_for_backward(x, *strengths)
        return layout.arriving(x, edges, Strengths(*strengths))

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        x, *strengths = ctx.saved_tensors
        grads = addressing.resolve(above)
        if again.is_needed(grads):

            def plain(x: Tensor, *strengths: Tensor) -> tuple[Tensor, Tensor]:
                return reference.arriving(x, ctx.edges, Strengths(*strengths))

            return None, None, *again.gradients(plain, grads, (x, *strengths))
        of_x, of_synapses = ctx.layout.arriving_backward(x, ctx.edges, Strengths(*strengths), grads)
        return None, None, of_x, *of_synapses


class _Evolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layout: ModuleType, edges: Edges, sub_steps: int, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        states, kept = layout.evolve(Evolution.of(tensors, edges, sub_steps), keep=True)
        ctx.layout, ctx.edges, ctx.sub_steps = layout, edges, sub_steps
        ctx.save_for_backward(*tensors, *kept)
        return states, states[:, -1].clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        # Unpacked once: under torch.utils.checkpoint a second access would compute everything a second time.
        *tensors, states, denominators = ctx.saved_tensors
        given, kept = Evolution.of(tensors, ctx.edges, ctx.sub_steps), Kept(states, denominators)
        grads = addressing.resolve(above)
        if again.is_needed(grads):

            def plain(*tensors: Tensor) -> tuple[Tensor, Tensor]:
                return reference.evolve(Evolution.of(tensors, ctx.edges, ctx.sub_steps))

            return None, None, None, *again.gradients(plain, grads, tensors)
        found = ctx.layout.evolve_backward(given, kept, grads)
        wanted = ctx.needs_input_grad[6]
        of_delta = (-found.moved / given.delta).sum_to_size(given.delta.shape) if wanted else None
        return None, None, None, *found[:3], of_delta, found.capacitance, *found.strengths
