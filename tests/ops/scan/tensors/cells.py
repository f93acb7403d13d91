"""Cells that people know, and what there is to compare of them, for the tests beside them."""

import torch
import torch.nn.functional as F

from remanence.nn.gated import gru_step as gru
from remanence.nn.gated import lstm_step as lstm


def slstm(state, inputs, params):
    """Beck et al. 2024, xLSTM, equations 8 to 17, with the stabiliser m and a matrix a head."""
    (h, c, n, m), (x,), (weight,) = state, inputs, params
    mixed = torch.einsum("bhi,hij->bhj", h, weight)
    z, i, f, o = (x + mixed).chunk(4, -1)
    f = F.logsigmoid(f)
    top = torch.maximum(f + m, i)
    write, keep = torch.exp(i - top), torch.exp(f + m - top)
    c, n = keep * c + write * torch.tanh(z), keep * n + write
    return torch.sigmoid(o) * c / n, c, n, top


def delta(state, inputs, params):
    """Schlag et al. 2021: S <- S + β (v - S k) kᵀ, and what a query reads."""
    (memory, _), (q, k, v, beta), () = state, inputs, params
    k = F.normalize(k, dim=-1)
    old = torch.einsum("bij,bj->bi", memory, k)
    memory = memory + torch.einsum("bi,bj->bij", torch.sigmoid(beta) * (v - old), k)
    return memory, torch.einsum("bij,bj->bi", memory, q)


def drawn(*shape, dtype=torch.float64, scale=1.0, device="cpu"):
    return (scale * torch.randn(*shape, dtype=dtype)).to(device).requires_grad_()


def problem(step, batch=5, time=6, dtype=torch.float64, device="cpu"):
    """Inputs, state and params of a cell."""
    groups = _problem(step, batch, time, dtype)
    return tuple([x.detach().to(device).requires_grad_() for x in group] for group in groups)


def _problem(step, batch, time, dtype):
    if step is gru:
        return (
            [drawn(batch, time, 12, dtype=dtype)],
            [drawn(batch, 4, dtype=dtype)],
            [
                drawn(12, 4, dtype=dtype),
                drawn(12, dtype=dtype),
            ],
        )
    if step is lstm:
        return (
            [drawn(batch, time, 12, dtype=dtype)],
            [drawn(batch, 3, dtype=dtype) for _ in range(2)],
            [drawn(12, 3, dtype=dtype)],
        )
    if step is slstm:
        states = [drawn(batch, 2, 3, dtype=dtype) for _ in range(4)]
        states[2] = states[2].detach().abs().add(1).requires_grad_()
        return [drawn(batch, time, 2, 12, dtype=dtype)], states, [drawn(2, 3, 12, dtype=dtype)]
    sizes = (4, 4, 3, 1)
    return (
        [drawn(batch, time, n, dtype=dtype) for n in sizes],
        [
            drawn(batch, 3, 4, dtype=dtype),
            drawn(batch, 3, dtype=dtype),
        ],
        [],
    )


CELLS = [gru, lstm, slstm, delta]


def returns_its_input(state, inputs, params):
    return state[0], inputs[0]


def twice_the_same(state, inputs, params):
    new = torch.tanh(state[0] @ params[0] + inputs[0])
    return new, new


def swaps(state, inputs, params):
    return state[1], state[0] @ params[0]


def all_that_a_sample_has(state, inputs, params):
    return torch.tanh(state[0].sum(-1, keepdim=True) + inputs[0]), state[1] * params[0].sum()


ODD = [returns_its_input, twice_the_same, swaps, all_that_a_sample_has]
"""Steps whose results are something else, too."""


def flat(result):
    return [*result[0], *result[1]]


def grads(results, tensors):
    loss = torch.stack([torch.cos(x * (place + 1)).sum() for place, x in enumerate(results)]).sum()
    return torch.autograd.grad(loss, tensors, allow_unused=True, materialize_grads=True)
