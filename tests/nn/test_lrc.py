"""LrcSSM against its equations, its differential equation, and Newton's method over all time steps."""

import numpy as np
import pytest
import scipy.integrate
import torch

from remanence import nn
from remanence.nn.lrc import lrc_step
from remanence.ops.scan import reset_scan_statistics, scan, scan_statistics
from tests.nn.transcription import assert_gradients_equal_differences, sigmoid


def slope(layer, u, h):
    """Farsang et al. 2025, equations 7 to 10: f*, z*, ε*, and with them dx/dt = A x + b."""
    p = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
    (A, V), (b, v) = np.split(p["weight_ih"], 2), np.split(p["bias"], 2)
    of_state, of_input = sigmoid(p["feedback"] * h + p["threshold"]), sigmoid(u @ A.T + b)
    f = p["g_x"] * of_state + p["g_u"] * of_input + p["g_leak"]
    z = p["k_x"] * of_state + p["k_u"] * of_input + p["g_leak"]
    elastance = p["elastance"] * h + u @ V.T + v
    return -sigmoid(f) * sigmoid(elastance) * h + np.tanh(z) * sigmoid(elastance) * p["e_leak"]


def run(layer, x, h, timespans):
    outputs = []
    for t in range(x.shape[1]):
        h = h + timespans[:, t, None] * slope(layer, x[:, t], h)
        outputs.append(h)
    return np.stack(outputs, 1)


def make():
    torch.manual_seed(0)
    layer = nn.LRC(3, 5).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    return layer


@pytest.mark.parametrize("timed", [False, True])
def test_equals_the_equations(timed):
    layer = make()
    x, h = torch.randn(4, 20, 3, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    spans = torch.rand(4, 20, dtype=torch.float64) if timed else torch.ones(4, 20, dtype=torch.float64)
    y, last = layer(x, h, timespans=spans if timed else None)
    arguments = x.numpy(), h.numpy(), spans.numpy()
    np.testing.assert_allclose(y.detach().numpy(), run(layer, *arguments), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(y[:, -1], last)
    assert_gradients_equal_differences(layer, y, lambda: run(layer, *arguments))


def test_short_steps_solve_the_differential_equation():
    layer, u = make(), np.array([0.3, -1.0, 0.7])
    start = np.linspace(-1, 1, 5)
    exact = scipy.integrate.solve_ivp(lambda _, h: slope(layer, u, h), (0, 2), start, rtol=1e-9, atol=1e-9).y[:, -1]
    x, spans = torch.from_numpy(u).expand(1, 2000, 3), torch.full((1, 2000), 1e-3, dtype=torch.float64)
    _, last = layer(x, torch.from_numpy(start)[None], timespans=spans)
    np.testing.assert_allclose(last[0].detach().numpy(), exact, rtol=0, atol=1e-3)


def test_newton_finds_the_same_in_few_iterations():
    """As the paper computes it: the Jacobian is diagonal, and the step contracts."""
    layer, x = make(), torch.randn(2, 200, 3, dtype=torch.float64)
    reset_scan_statistics()
    state, params = [layer.initial_state(2)], layer._params()
    (y,), _ = scan(lrc_step, layer._list_inputs(x, None), state, params, backend="newton")
    torch.testing.assert_close(y, layer(x)[0])
    assert scan_statistics().iterations <= 10
    assert not scan_statistics().fallbacks


def test_it_stays_bounded_for_steps_up_to_2():
    layer, x = make(), 10 * torch.randn(2, 3000, 3, dtype=torch.float64)
    y, _ = layer(x, timespans=2 * torch.rand(2, 3000, dtype=torch.float64))
    assert y.abs().max() < 100
