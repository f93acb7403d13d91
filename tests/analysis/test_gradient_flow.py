import math

import pytest
import torch
from torch import nn

from remanence import nn as memories
from remanence.analysis import as_step, gradient_flow

X = torch.randn(3, 20, 2, generator=torch.Generator().manual_seed(1)).double()


def last(y, states):
    return states[:, -1].square().sum()


def by_autograd(system, x, loss):
    """The norms that one backward pass through the whole graph gives."""
    step = as_step(system)
    states, outputs = [step.initial_state(len(x)).requires_grad_()], []
    for x_t in x.unbind(1):
        y_t, after = step.advance(x_t, states[-1])
        states.append(after)
        outputs.append(y_t)
    value = loss(torch.stack(outputs, 1), torch.stack(states[1:], 1))
    return torch.stack([g.norm(dim=-1) for g in torch.autograd.grad(value, states, materialize_grads=True)], 1)


LAYERS = [
    lambda: nn.LSTM(2, 5, batch_first=True),
    lambda: memories.CFF(2, 3),
    lambda: memories.FastWeights(2, 4),
]
LOSSES = [last, lambda y, states: y[:, -1].sum(), lambda y, states: y.sin().sum() + states[:, 3::4].sum()]


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_norms_are_those_of_one_backward_pass(make, loss):
    layer = make().double()
    flow = gradient_flow(layer, X, loss)
    torch.testing.assert_close(flow.norms, by_autograd(layer, X, loss))
    assert flow.jacobian_bound is not None
    assert (flow.norms <= flow.jacobian_bound * (1 + 1e-9)).all()
    assert flow.weight_bound is None


@pytest.mark.parametrize("layer", [
    nn.RNN(2, 5, batch_first=True), nn.RNN(2, 5, nonlinearity="relu", batch_first=True),
    memories.Elman(2, 5), nn.RNNCell(2, 5),
])  # fmt: skip
def test_the_bound_of_the_theory_lies_above_the_bound_of_the_jacobians(layer):
    flow = gradient_flow(layer.double(), X, last)
    assert flow.jacobian_bound is not None
    assert flow.weight_bound is not None
    assert (flow.norms <= flow.jacobian_bound * (1 + 1e-9)).all()
    assert (flow.jacobian_bound <= flow.weight_bound * (1 + 1e-9)).all()


def test_the_bound_of_the_theory_is_the_product_of_the_design():
    layer = nn.RNN(2, 5, batch_first=True).double()
    w_ih, w, b_ih, b_hh = (parameter.detach() for parameter in layer.parameters())
    flow = gradient_flow(layer, X[:1], last)
    h, slopes = torch.zeros(5).double(), []
    for x_t in X[0]:
        a = w_ih @ x_t + b_ih + w @ h + b_hh
        h = a.tanh().detach()
        slopes.append(1 / a.cosh() ** 2)
    expected = (2 * h).norm() * math.prod(torch.linalg.svdvals(w)[0] * slope.detach().max() for slope in slopes)
    assert flow.weight_bound is not None
    assert math.isclose(flow.weight_bound[0, 0], expected, rel_tol=1e-9)


@pytest.mark.parametrize(
    ("factor", "vanishes", "explodes"), [(0.5, 7, math.inf), (1.0, math.inf, math.inf), (2.0, math.inf, 7)]
)
def test_horizon_of_a_linear_system(factor, vanishes, explodes):
    step = as_step(lambda x_t, h: factor * h, state=torch.ones(1, 2).double())
    flow = gradient_flow(step, step.silence(1, 20), lambda y, states: states[:, -1].sum())
    expected = math.sqrt(2) * factor ** torch.arange(20, -1, -1).double()
    torch.testing.assert_close(flow.norms[0], expected)
    assert flow.jacobian_bound is not None
    torch.testing.assert_close(flow.jacobian_bound[0], expected)
    assert flow.horizon().item() == vanishes  # 0.5^7 < 0.01 < 0.5^6
    assert flow.explodes().item() == explodes


def test_horizon_counts_from_where_the_gradient_arrives():
    step = as_step(lambda x_t, h: 0.5 * h, state=torch.ones(1, 2).double())
    flow = gradient_flow(step, step.silence(1, 20), lambda y, states: states[:, 14].sum())
    assert flow.norms[0, 16:].eq(0).all()
    assert flow.horizon().item() == 7


def test_picture():
    flow = gradient_flow(nn.RNN(2, 5, batch_first=True).double(), X, last)
    assert len(flow.plot().lines) >= 3


def test_the_gradient_needs_no_bound():
    layer, x = nn.GRU(3, 4, batch_first=True), torch.randn(2, 6, 3)
    bounded, alone = (gradient_flow(layer, x, lambda y, h: h[:, -1].sum(), bound=bound) for bound in (True, False))
    assert torch.equal(bounded.norms, alone.norms)
    assert alone.jacobian_bound is None
    assert alone.plot().get_title() == "Gradient flow"
