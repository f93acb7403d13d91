"""Recurrences that alternate matrix products with pointwise functions, run as one node of the autograd graph.

Autograd alone would record every operation of every time step, and add up the gradient of each matrix step by step.
Here the forward loop is not recorded. In the backward pass autograd differentiates all pointwise functions for all time
steps at once, the loop is one product and one matrix product per stage, and the gradient of each matrix over all time
steps is one matrix product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple, no_type_check

import torch
from torch import Tensor

from remanence._kernels import addressing
from remanence.ops import autocast
from remanence.ops.dispatch import record
from remanence.ops.eager import run_eagerly
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.trace import Step


class Stage(NamedTuple):
    """``f(W z + b)``, where z is the result of the previous stage, or the state for the first stage.

    Attributes:
        weight: W, [blocks * size, size of z].
        bias: b, [blocks * size], or [time, batch, blocks * size] if the stage is driven by an input.
        size: number of channels of the result of f.
        function: f(a, *extra), from a [..., blocks, size] ([..., size] if there is one block) to [..., size], pointwise
            over all but the blocks.
        extra: further arguments of f, [time, batch, ...], or [size] if they are the same for all steps.
    """

    weight: Tensor
    bias: Tensor
    size: int
    function: Callable[..., Any]
    extra: tuple[Tensor, ...] = ()


def as_step(
    stages: Sequence[Stage], h: Tensor, c: Tensor | None = None
) -> tuple[Step, list[Tensor], list[Tensor], list[Tensor]]:
    """Turn stages into a step for :func:`remanence.scan`.

    Args:
        stages: the stages of a time step, as in :func:`run`.
        h: first state before the first step, as in :func:`run`.
        c: second state, as in :func:`run`; default: none.

    Returns:
        The step; its inputs, [batch, time, ...] each; its state; its params.
    """
    layout, inputs, params = [], [], []
    for stage in stages:
        params.append(stage.weight)
        for tensor in (stage.bias, *stage.extra):
            if tensor.ndim == 3:
                inputs.append(tensor.transpose(0, 1))
            else:
                params.append(tensor)
        layout.append((stage.size, stage.function, tuple(x.ndim == 3 for x in (stage.bias, *stage.extra))))
    return partial(_step, tuple(layout)), inputs, [h] if c is None else [h, c], params


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def _step(
    layout: Sequence[tuple[int, Any, Sequence[bool]]], state: Tensors, inputs: Tensors, params: Tensors
) -> Tensors:
    h, *rest = state
    driven, shared = iter(inputs), iter(params)
    for index, (size, function, is_driven) in enumerate(layout):
        weight = next(shared)
        bias, *extra = [next(driven if each else shared) for each in is_driven]
        a = torch.nn.functional.linear(h, weight) + bias
        if len(weight) != size:
            a = a.unflatten(-1, (-1, size))
        if rest and index == 0:
            h, *rest = function(a, *rest, *extra)
        else:
            h = function(a, *extra)
    return (h, *rest)


@run_eagerly
def run(stages: Sequence[Stage], h: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run the stages over time; the result of the last stage is the state h.

    Args:
        stages: the stages of a time step. At least one is driven by an input, whose length is the number of time steps.
        h: state before the first step, [batch, size].
        c: second state, [batch, size], which the first stage updates by a function ``(a, c, *extra) -> (z, c)``;
            default: none.

    Returns:
        h after every step, [time, batch, size]; h after the last step; c after the last step, or None.
    """
    with autocast.disable(h.device):
        chain = Chain(tuple((stage.size, stage.function, len(stage.extra)) for stage in stages))
        tensors = (h, c, *(tensor for stage in stages for tensor in (stage.weight, stage.bias, *stage.extra)))
        if addressing.refuses(tensors) is not None:
            return chain.reference(*tensors)
        states, last, last_c = record(chain, tensors)
        return states, last, last_c


def run_loop(
    stages: Sequence[Stage], h: Tensor, c: Tensor | None = None, sums: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor | None]:
    """Run the plain loop, the reference for :func:`run`.

    Args:
        stages: the stages of a time step, as in :func:`run`.
        h: first state before the first step, as in :func:`run`.
        c: second state, as in :func:`run`; default: none.
        sums: for each stage a tensor [time, batch, blocks * size] into which its a is written; default: none.

    Returns:
        h and c after every step, [time, batch, size].
    """
    batch = h.shape[0]  # len would make it a constant in torch.export
    plan = [
        (
            s.weight.t().contiguous(),
            _iterate_over_time(s.bias),
            _block_shape(s, batch),
            s.function,
            [_iterate_over_time(e) for e in s.extra],
            outs,
        )
        for s, outs in zip(stages, [_iterate_over_time(a) for a in sums] or [repeat(None)] * len(stages), strict=True)
    ]
    states, carried = [], []
    for _ in range(_duration(stages)):
        for index, (weight, bias, shape, function, extra, outs) in enumerate(plan):
            a = torch.addmm(next(bias), h, weight, out=next(outs))
            if shape:
                a = a.view(shape)
            others = [next(each) for each in extra] if extra else extra
            if index or c is None:
                h = function(a, *others)
            else:
                h, c = function(a, c, *others)
                carried.append(c)
        states.append(h)
    return torch.stack(states), torch.stack(carried) if carried else None


def _block_shape(stage: Stage, *leading: int) -> tuple[int, ...]:
    """Return the shape of a that the function of a stage takes; () if there is one block and nothing to reshape."""
    return () if len(stage.weight) == stage.size else (*leading, len(stage.weight) // stage.size, stage.size)


def _duration(stages: Sequence[Stage]) -> int:
    return next(len(stage.bias) for stage in stages if stage.bias.ndim == 3)


def _iterate_over_time(tensor: Tensor) -> Any:
    return iter(tensor.unbind(0)) if tensor.ndim == 3 else repeat(tensor)


def _collect(states: Tensor, carried: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the results of :func:`run`; the last states are copies that do not keep the whole sequence alive."""
    return states, states[-1].clone(), None if carried is None else carried[-1].clone()


@dataclass(frozen=True)
class Chain:
    """Stages over time, with tensors (h, c, weight, bias and extra of each stage).

    An :class:`remanence.ops.dispatch.OperationKernel`.

    Attributes:
        layout: for each stage its size, its function and the number of further arguments of the function.
    """

    layout: tuple[tuple[int, Callable[..., Any], int], ...]

    def forward(self, tensors: Sequence[Any], needs: Sequence[bool] | None) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Compute h over time, the last h and the last c."""
        h, c, *flat = tensors
        stages = self._stages(flat)
        if needs is None:
            return _collect(*run_loop(stages, h, c)), ()
        time = _duration(stages)
        sums = [h.new_empty(time, len(h), len(stage.weight)) for stage in stages]
        states, carried = run_loop(stages, h, c, sums)
        return _collect(states, carried), (*sums, states, carried)

    def backward(
        self, tensors: Sequence[Any], residuals: Sequence[Any], grads: Sequence[Any], needs: Sequence[bool]
    ) -> list[Tensor | None]:
        """Compute the gradients of all arguments."""
        h, c, *flat = tensors
        *sums, states, carried = residuals
        above, g, gc = grads
        above = torch.zeros_like(states) if above is None else above
        g = torch.zeros_like(h) if g is None else g
        gc = torch.zeros_like(c) if gc is None and c is not None else gc
        before = torch.cat([h[None], states[:-1]])
        c_before = None if c is None else torch.cat([c[None], carried[:-1]])
        with autocast.disable(h.device):
            return _backward(self._stages(flat), before, c_before, sums, (above, g, gc), needs[2:])

    def reference(self, h: Tensor, c: Tensor | None, *flat: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the plain loop."""
        with autocast.disable(h.device):
            return _collect(*run_loop(self._stages(flat), h, c))

    def _stages(self, flat: Sequence[Tensor]) -> list[Stage]:
        rest = iter(flat)
        return [
            Stage(next(rest), next(rest), size, function, tuple(next(rest) for _ in range(extra)))
            for size, function, extra in self.layout
        ]


def _backward(
    stages: Sequence[Stage],
    h: Tensor,
    c: Tensor | None,
    sums: Sequence[Tensor],
    grads: Sequence[Any],
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Compute the gradients of h, c, and of weight, bias and extra of every stage, from h, c and a over time."""
    sums = [a.view(_block_shape(stage, *a.shape[:2]) or a.shape) for stage, a in zip(stages, sums, strict=True)]
    wanted, results, slopes = iter(needs), [h], []
    needed = [[next(wanted) for _ in range(2 + len(stage.extra))][2:] for stage in stages]
    for index, (stage, a) in enumerate(zip(stages, sums, strict=True)):
        result, slope = _differentiate(stage, a, c if index == 0 else None)
        results.append(result)
        slopes.append(slope)
    result_grads: list[list[Tensor] | None] = [[] if any(need) else None for need in needed]
    gradients: list[Tensor | None] = [*_backward_loop(stages, slopes, result_grads, *grads)]
    for stage, a, z, (da, *_), g, need in zip(stages, sums, results[:-1], slopes, result_grads, needed, strict=True):
        da = da.flatten(2)
        gradients.append(da.flatten(0, 1).t() @ z.flatten(0, 1))
        gradients.append(da if stage.bias.ndim == 3 else da.sum((0, 1)))
        gradients += [None] * len(need) if g is None else _extra_gradients(stage, a, torch.stack(g[::-1]), need)
    return gradients


def _differentiate(stage: Stage, a: Tensor, c: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Compute the result z of a stage over time, and dz/da; with c also dz/dc, and the derivatives of the new c."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in (a, c) if x is not None]
        results = stage.function(*leaves, *(e.detach() for e in stage.extra))
        results = (results,) if c is None else results
        ones = torch.ones_like(results[0])
        grads = [torch.autograd.grad(result, leaves, ones, retain_graph=True) for result in results]
    return results[0].detach(), [g.clone() if g is ones else g.contiguous() for by_leaf in grads for g in by_leaf]


def _backward_loop(
    stages: Sequence[Stage],
    slopes: Sequence[Sequence[Tensor]],
    result_grads: Sequence[list[Tensor] | None],
    above: Tensor,
    g: Tensor,
    gc: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Run backwards over time; return the gradients of the first h and c.

    The slopes dz/da become the gradients of a, in place; those of z are appended to ``result_grads``, last step first.
    """
    g = g + above[-1]
    earlier = [torch.zeros_like(g), *above[:-1].unbind(0)]
    plan = []
    for stage, (by_a, *with_c), z_grads in zip(stages, slopes, result_grads, strict=True):
        whole, blocks = by_a.flatten(2).unbind(0), by_a.unbind(0)  # the same memory
        plan.append((stage.weight, whole, blocks, [x.unbind(0) for x in with_c], z_grads, bool(_block_shape(stage))))
    for t in reversed(range(len(earlier))):
        for index in reversed(range(len(plan))):
            weight, whole, blocks, with_c, z_grads, several = plan[index]
            if z_grads is not None:
                z_grads.append(g)
            da = blocks[t].mul_(g.unsqueeze(1) if several else g)
            if index:
                g = torch.mm(whole[t], weight)
                continue
            if gc is not None:
                z_by_c, c_by_a, c_by_c = with_c
                da.addcmul_(gc.unsqueeze(1) if several else gc, c_by_a[t])
                gc = torch.addcmul(gc * c_by_c[t], g, z_by_c[t])
            g = torch.addmm(earlier[t], whole[t], weight)
    return g, gc


def _extra_gradients(stage: Stage, a: Tensor, g: Tensor, needed: Sequence[bool]) -> list[Tensor | None]:
    with torch.enable_grad():
        extra = [e.detach().requires_grad_(need) for e, need in zip(stage.extra, needed, strict=True)]
        found = iter(torch.autograd.grad(stage.function(a, *extra), [e for e in extra if e.requires_grad], g))
    return [next(found) if need else None for need in needed]
