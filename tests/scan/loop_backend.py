"""A backend for tests: the traced graphs, evaluated with PyTorch in a plain loop over time, both ways."""

import torch

from remanence.scan.interpreter import evaluate


def _expanded(value, like):
    return value.expand(like.shape).to(like.dtype)


def refuses(traced, like):
    return None


def forward(traced, inputs, state, params):
    history = []
    for x in zip(*(x.unbind(1) for x in inputs), strict=True):
        new = evaluate(traced.forward, {"state": state, "input": x, "param": params}, state[0])
        state = tuple(_expanded(value, old) for value, old in zip(new, state, strict=True))
        history.append(state)
    return tuple(torch.stack(over_time, 1) for over_time in zip(*history, strict=True))


def backward(traced, needs, primals, states, grad_states, grad_final):
    inputs, state, params = primals
    count = len(state)
    needs = [True] * count + list(needs[count:])
    graph = traced.vjp(tuple(needs))
    cotangents = [torch.zeros_like(s) if g is None else g for s, g in zip(state, grad_final, strict=True)]
    grads = [torch.zeros_like(x) if need else None for x, need in zip((*inputs, *params), needs[count:], strict=True)]
    for t in reversed(range(inputs[0].shape[1])):
        cotangents = [c if g is None else c + g[:, t] for c, g in zip(cotangents, grad_states, strict=True)]
        before = [s[:, t - 1] for s in states] if t else state
        values = {"state": before, "input": [x[:, t] for x in inputs], "param": params, "cotangent": cotangents}
        results = [_expanded(value, state[0]) for value in evaluate(graph, values, state[0])]
        cotangents, rest = results[:count], iter(results[count:])
        for place, grad in enumerate(grads):
            if grad is not None and place < len(inputs):
                grad[:, t] = next(rest)
            elif grad is not None:
                grad += next(rest).sum(0)
    return [*cotangents, *grads]


def source(traced, needs):
    return f"{traced.forward}\n\n{traced.vjp(tuple(needs))}\n"
