"""What a step becomes: its graph gives what PyTorch gives, its derivative what autograd gives."""

import pytest
import torch
import torch.nn.functional as F
from grammar import BINARY, UNARY, assert_same, problems
from hypothesis import HealthCheck, given, settings

from remanence.ops.scan import graph_loop
from remanence.ops.scan.backend import MODULES
from remanence.ops.scan.interpreter import evaluate
from remanence.ops.scan.trace import TracedStep, UntraceableError

SPECIAL = torch.tensor(
    [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, 30.0, -30.0, 200.0, 1e-30, torch.inf, -torch.inf, torch.nan]
)


@pytest.mark.usefixtures("graph_backend")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems())
def test_random_steps(problem):
    assert MODULES["graph"] == graph_loop.__name__
    assert_same(problem, "graph")


MORE = {
    "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil, "trunc": torch.trunc, "round": torch.round,
    "celu": F.celu, "selu": F.selu, "relu6": F.relu6, "hardsigmoid": F.hardsigmoid,
    "hardswish": lambda x: x * F.hardsigmoid(x),
    "softsign": F.softsign, "tanhshrink": F.tanhshrink, "sinh": torch.sinh, "cosh": torch.cosh, "tan": torch.tan,
    "log2": lambda x: torch.log2(x.abs() + 1), "log10": lambda x: torch.log10(x.abs() + 1), "exp2": torch.exp2,
    "erfc": torch.erfc, "nan_mask": lambda x: torch.where(torch.isnan(x), torch.zeros_like(x), x),
    "min_only": lambda x: x.clamp(min=-1), "max_only": lambda x: x.clamp(max=1), "cube": lambda x: x**3,
    "minus_half": lambda x: (x.abs() + 1) ** -0.5, "masked_fill": lambda x: x.masked_fill(x > 1, 2.0),
    "ones": lambda x: x * torch.ones(14) + torch.full((14,), 0.5), "rsub": lambda x: torch.rsub(x, 3, alpha=2),
    "floor_division": lambda x: torch.div(x, 2, rounding_mode="floor"), "logical": lambda x: x * ((x > 0) ^ (x < 1)),
    "logaddexp": lambda x: torch.logaddexp(x, 2 * x), "addcdiv": lambda x: torch.addcdiv(x, x, x * x + 1, value=2),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({**UNARY, **MORE}))
def test_one_operand(name):
    check({**UNARY, **MORE}[name], 1)


@pytest.mark.parametrize("name", sorted(BINARY))
def test_two_operands(name):
    check(BINARY[name], 2)


def check(function, operands):
    """Values and gradients at ordinary and at special values."""
    traced = TracedStep(
        lambda state, inputs, params: (function(*state[:operands]),) * 2, (2, 1, 0), 1, 14, torch.float32
    )
    x, y = SPECIAL[None], SPECIAL.flip(0)[None]
    leaves = [tensor.clone().requires_grad_() for tensor in (x, y)][:operands]
    expected = function(*leaves)
    ordinary = torch.isfinite(x) & torch.isfinite(y)  # there a formula may meet inf * 0 where another does not
    values = {"state": (x, y), "input": (x,), "param": ()}
    got = evaluate(traced.forward, values, x)[0]
    exact = function not in (MORE["floor_division"], F.gelu)  # for PyTorch itself they are NaN at infinity
    assert_same_at(ordinary | exact, got.expand_as(x), expected.detach())
    grads = torch.autograd.grad(expected.sum(), leaves) if expected.requires_grad else [torch.zeros_like(x)] * operands
    values["cotangent"] = (torch.ones_like(x), torch.zeros_like(x))
    for ours, theirs in zip(evaluate(traced.vjp((True, True, False)), values, x), grads, strict=False):
        assert_same_at(ordinary & torch.isfinite(theirs), ours.expand_as(x), theirs)


def assert_same_at(where, ours, theirs):
    torch.testing.assert_close(ours[where], theirs[where], equal_nan=True)


OUTSIDE = torch.ones(3, requires_grad=True)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda s, x, p: (s[0].cumsum(1),), "cumsum"),
        (lambda s, x, p: (s[0] / s[0].sum(),), "sum"),
        (lambda s, x, p: (s[0].flip(0),), "flip"),
        (lambda s, x, p: (s[0] @ s[0].mT @ x[0],), "transpose"),
        (lambda s, x, p: (F.dropout(s[0]),), "random"),
        (lambda s, x, p: (s[0] if s[0].sum() > 0 else x[0],), "sum|decides"),
        (lambda s, x, p: (s[0] if s[0][0, 0] > 0 else x[0],), "select"),
        (lambda s, x, p: (s[0].add_(1),), "in place"),
        (lambda s, x, p: (s[0] * torch.arange(3.0),), "not one number"),
        (lambda s, x, p: (s[0] * OUTSIDE,), "requires a gradient"),
        (lambda s, x, p: (s[0].double() * x[0],), "float64"),
        (lambda s, x, p: (torch.fmod(s[0], x[0]),), "fmod"),
        (lambda s, x, p: (s[0][:, :1] * x[0],), "slice"),
        (lambda s, x, p: (p[0],), r"not torch.float32 \[2, 3\]"),
        (lambda s, x, p: (1.0,), "1.0"),
        (lambda s, x, p: s[5], "IndexError"),
    ],
)
def test_what_cannot_be_traced_is_named(step, reason):
    with pytest.raises(UntraceableError, match=reason):
        TracedStep(step, (1, 1, 1), 2, 3, torch.float32)


def test_sub_steps_share_what_is_equal():
    def step(state, inputs, params):
        (h,), (x,), (a,) = state, inputs, params
        for _ in range(4):
            h = torch.tanh(a) * h + torch.tanh(a) * x  # tanh(a) and its product with x do not change
        return (h,)

    traced = TracedStep(step, (1, 1, 1), 2, 3, torch.float32)
    assert traced.forward.count_operations() == 2 + 4 * 2


def test_gradients_that_nobody_needs_are_not_computed():
    traced = TracedStep(lambda s, x, p: (torch.tanh(p[0] * s[0] + torch.exp(x[0])),), (1, 1, 1), 2, 3, torch.float32)
    everything, states_only = traced.vjp((True, True, True)), traced.vjp((False, False, False))
    assert (len(everything.outputs), len(states_only.outputs)) == (3, 1)
    assert states_only.count_operations() < everything.count_operations()
    assert str(everything) == str(TracedStep(traced.step, (1, 1, 1), 5, 3, torch.float32).vjp((True, True, True)))
