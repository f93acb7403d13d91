"""A backend that evaluates the traced graphs in a plain loop over time, if no fused loop can run."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.ops.scan.interpreter import evaluate
from remanence.ops.scan.layout import PARAMS, Gradients, Group, Tensors, unbind_group
from remanence.ops.scan.trace import TracedStep


def refuses(traced: TracedStep, like: Tensor) -> str | None:
    """Return None: this backend runs every step."""
    return None


def forward(traced: TracedStep, inputs: Tensors, state: Tensors, params: Group) -> Tensors:
    """Compute the states after every step, [batch, time, channels] each."""
    history, params = [], unbind_group(params, PARAMS)
    for x in zip(*(x.unbind(1) for x in inputs), strict=True):
        new = evaluate(traced.forward, {"state": state, "input": x, "param": params}, state[0])
        state = tuple(value.expand(old.shape) for value, old in zip(new, state, strict=True))
        history.append(state)
    return tuple(torch.stack(over_time, 1) for over_time in zip(*history, strict=True))


def backward(
    traced: TracedStep,
    needs: Sequence[bool],
    primals: tuple[Tensors, Tensors, Group],
    states: Tensors,
    grad_states: Sequence[Tensor | None],
    grad_final: Sequence[Tensor | None],
) -> Gradients:
    """Compute the gradients of states, inputs and params."""
    inputs, state, params = *primals[:2], unbind_group(primals[2], PARAMS)
    count = len(state)
    graph = traced.vjp(tuple(needs))
    cotangents = [torch.zeros_like(s) if g is None else g for s, g in zip(state, grad_final, strict=True)]
    others = zip((*inputs, *params), needs[count:], strict=True)
    grads = [torch.zeros_like(x) if need else None for x, need in others]
    for t in reversed(range(inputs[0].shape[1])):
        cotangents = [c if g is None else c + g[:, t] for c, g in zip(cotangents, grad_states, strict=True)]
        before = [s[:, t - 1] for s in states] if t else state
        values = {"state": before, "input": [x[:, t] for x in inputs], "param": params, "cotangent": cotangents}
        results = [value.expand(state[0].shape) for value in evaluate(graph, values, state[0])]
        cotangents, rest = results[:count], iter(results[count:])
        for place, grad in enumerate(grads):
            if grad is not None and place < len(inputs):
                grad[:, t] = next(rest)
            elif grad is not None:
                grad += next(rest).sum(0)
    of_state = tuple(g if need else None for g, need in zip(cotangents, needs, strict=False))
    return Gradients(of_state, tuple(grads[: len(inputs)]), tuple(grads[len(inputs) :]))


def source(traced: TracedStep, needs: Sequence[bool]) -> str:
    """Return both graphs as text."""
    return f"{traced.forward}\n\n{traced.vjp(tuple(needs))}\n"
