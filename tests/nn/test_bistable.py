"""BRC and nBRC against their equations, and what bistability means."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch

from remanence import nn
from tests.nn.transcription import assert_gradients_equal_differences, sigmoid


def run(layer, x, h):
    """Vecoven et al. 2021, equations 5 to 8, with the biases of the authors' code."""
    p = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
    U_a, U_c, U = np.split(p["weight_ih"], 3)
    b_a, b_c = np.split(p["bias"], 2)
    w_a, w_c = np.split(p["weight_hh"], 2)
    outputs = []
    for t in range(x.shape[1]):
        of_a, of_c = (h @ w_a.T, h @ w_c.T) if layer.neuromodulated else (w_a * h, w_c * h)
        a = 1 + np.tanh(x[:, t] @ U_a.T + of_a + b_a)
        c = sigmoid(x[:, t] @ U_c.T + of_c + b_c)
        h = c * h + (1 - c) * np.tanh(x[:, t] @ U.T + a * h)
        outputs.append(h)
    return np.stack(outputs, 1)


@pytest.mark.parametrize("neuromodulated", [False, True])
def test_equals_the_equations(neuromodulated):
    torch.manual_seed(0)
    layer = nn.BRC(3, 5, neuromodulated=neuromodulated).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, h = torch.randn(4, 20, 3, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    y, last = layer(x, h)
    np.testing.assert_allclose(y.detach().numpy(), run(layer, x.numpy(), h.numpy()), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(y[:, -1], last)
    assert_gradients_equal_differences(layer, y, lambda: run(layer, x.numpy(), h.numpy()))


def with_feedback(a, neuromodulated):
    """A layer whose feedback is a in all units, whatever comes in."""
    layer = nn.BRC(1, 3, neuromodulated=neuromodulated).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight_ih[6:] = 1.0
        layer.bias[:3] = math.atanh(a - 1)
    return layer


@pytest.mark.parametrize("neuromodulated", [False, True])
@pytest.mark.parametrize("a", [1.2, 1.5, 1.9])
def test_above_1_a_unit_rests_at_two_values(a, neuromodulated):
    """The solutions of h = tanh(a h): two that attract, and 0, which repels."""
    rest = np.asarray(scipy.optimize.brentq(lambda h: math.tanh(a * h) - h, 1e-3, 1)).item()
    h = torch.tensor([[1e-3, -1e-3, 0.9]], dtype=torch.float64)
    y, last = with_feedback(a, neuromodulated)(torch.zeros(1, 600, 1, dtype=torch.float64), h)
    torch.testing.assert_close(last, torch.tensor([[rest, -rest, rest]], dtype=torch.float64), rtol=1e-6, atol=0)
    assert (y[0, :, 1] < 0).all()


@pytest.mark.parametrize("neuromodulated", [False, True])
@pytest.mark.parametrize("a", [0.3, 0.9])
def test_below_1_a_unit_forgets(a, neuromodulated):
    h = torch.tensor([[1.0, -1.0, 0.5]], dtype=torch.float64)
    _, last = with_feedback(a, neuromodulated)(torch.zeros(1, 1000, 1, dtype=torch.float64), h)
    assert last.abs().max() < 1e-6


def test_a_pulse_is_held_and_another_one_changes_it():
    layer, x = with_feedback(1.5, False), torch.zeros(1, 2000, 1, dtype=torch.float64)
    x[0, :5], x[0, 1000:1010] = 2.0, -2.0
    y, _ = layer(x)
    assert (y[0, 5:1000] > 0.5).all()
    assert (y[0, 1010:] < -0.5).all()
