"""The first call of a step, which is traced, may be the one that torch.utils.checkpoint computes twice."""

from typing import Literal

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import remanence


def make_step(factor, matrix):
    """A step that nobody has traced yet."""

    def step(state, inputs, params):
        (h,), (x,), (weight,) = state, inputs, params
        return (torch.tanh(factor * (h @ weight if matrix else h * weight) + x).square(),)

    return step


@pytest.mark.parametrize("matrix", [False, True])
@pytest.mark.parametrize("every", [None, 2])
def test_the_first_call_is_inside(matrix, every):
    x, h = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    weight = torch.randn(*[3] * (1 + matrix), dtype=torch.float64, requires_grad=True)
    step = make_step(0.123 if every else 0.321, matrix)

    def run(x, backend: Literal["cpu", "reference"] = "cpu"):
        return remanence.scan(step, [x], [h], [weight], backend=backend, checkpoint_every=every)[0][0]

    leaf = x.requires_grad_()
    found = torch.autograd.grad(checkpoint(run, leaf, use_reentrant=False).sum(), [leaf, weight])
    torch.testing.assert_close(found, torch.autograd.grad(run(leaf, "reference").sum(), [leaf, weight]))
