"""Numbers of a sample that change their places, and derivatives that no loop can be made of."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F

import remanence
from remanence import UntraceableWarning
from remanence.ops.scan.tensors.tensor_trace import TracedTensorStep


def rolled(order):
    def step(state, inputs, params):
        (h,), (x,), (weight,) = state, inputs, params
        return (torch.tanh((h @ weight)[:, order] + x),)

    return step


def given(batch=3):
    x, h, weight = torch.randn(batch, 4, 6), torch.randn(batch, 6), torch.randn(6, 6)
    return [x.double().requires_grad_()], [h.double().requires_grad_()], [weight.double().requires_grad_()]


def run(step, inputs, state, params, backend: Literal["auto", "cpu", "reference"]):
    (y,), _ = remanence.scan(step, inputs, state, params, backend=backend)
    return [y, *torch.autograd.grad(y.square().sum(), [*inputs, *state, *params])]


def test_a_table_is_compared_by_what_stands_in_it(monkeypatch):
    traced, init = [], TracedTensorStep.__init__

    def count(self, *arguments):
        traced.append(self)
        init(self, *arguments)

    monkeypatch.setattr(TracedTensorStep, "__init__", count)
    order, tensors = torch.tensor([1, 2, 3, 4, 5, 0]), given()
    for table in (order, order.clone(), order.flip(0), torch.tensor([5, 5, 0, 1, 2, 2])):
        step = rolled(table)
        torch.testing.assert_close(run(step, *tensors, "cpu"), run(step, *tensors, "reference"))
    assert len(traced) == 3
    step = rolled(order)
    before = len(traced)
    order[0], order[1] = 2, 1  # in place: another table
    torch.testing.assert_close(run(step, *tensors, "cpu"), run(step, *tensors, "reference"))
    assert len(traced) == before + 1
    run(step, *tensors, "cpu")
    assert len(traced) == before + 1


def written(a, b):
    a[:, torch.tensor([0, 2])] = b[:, :2]
    return a


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda s, x, p: (s[0][torch.tensor([2, 0, 1])] @ p[0],), "another"),
        (lambda s, x, p: ((s[0] @ p[0])[:, p[0][0].argsort()],), "places that depend"),
        (lambda s, x, p: ((s[0] @ p[0]).roll(1, 0),), "another"),
        (lambda s, x, p: (s[0] @ p[0] + (s[0] @ p[0])[:, torch.zeros(6, dtype=torch.bool)].sum(-1, True),), "elements"),
        (lambda s, x, p: (written(s[0] @ p[0], x[0]),), "in the place"),
    ],
)
def test_what_is_refused_and_why(step, reason):
    with pytest.raises(ValueError, match=f"cannot run this step.*({reason})"):
        remanence.scan(step, *given(), backend="cpu")


class Sorted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):  # pyright: ignore[reportIncompatibleMethodOverride]
        return g.sort(-1).values


@pytest.mark.unchecked
@pytest.mark.parametrize("matrix", [False, True])
def test_a_derivative_that_cannot_be_recorded(matrix):
    """The loop runs for gradients, with a warning; the kernel where none is asked for."""

    def step(state, inputs, params):
        (h,), (x,), (weight,) = state, inputs, params
        return (Sorted.apply(torch.tanh((F.linear(h, weight) if matrix else h * weight) + x)),)

    inputs, state, params = given()
    params = params if matrix else [params[0][0].detach().requires_grad_()]
    with pytest.warns(UntraceableWarning, match="derivative cannot be recorded"):
        found = run(step, inputs, state, params, "auto")
    torch.testing.assert_close(found, run(step, inputs, state, params, "reference"))
    with pytest.raises(ValueError, match="derivative cannot be recorded"):
        remanence.scan(step, inputs, state, params, backend="cpu")
    with torch.no_grad():
        remanence.scan(step, inputs, state, params, backend="cpu")
