"""The sLSTM against its equations without a stabiliser, and where those overflow."""

import numpy as np
import pytest
import torch

from remanence import nn
from tests.nn.transcription import assert_gradients_equal_differences, sigmoid


def run(layer, x):
    """Beck et al. 2024, equations 8 to 14, with a loop over heads and without m."""
    W, R, b = (parameter.detach().numpy() for parameter in (layer.weight_ih, layer.weight_hh, layer.bias))
    heads, units = layer.heads, layer.hidden_size // layer.heads
    outputs = np.zeros((*x.shape[:2], layer.hidden_size))
    for sample in range(len(x)):
        for head in range(heads):
            rows = slice(4 * units * head, 4 * units * (head + 1))
            h, c, n = np.zeros(units), np.zeros(units), np.zeros(units)
            for t in range(x.shape[1]):
                z, i, f, o = np.split(W[rows] @ x[sample, t] + R[head] @ h + b[rows], 4)
                f = np.exp(f) if layer.forget_gate == "exp" else sigmoid(f)
                c, n = f * c + np.exp(i) * np.tanh(z), f * n + np.exp(i)
                h = sigmoid(o) * c / n
                outputs[sample, t, head * units : (head + 1) * units] = h
    return outputs


def make(**options):
    torch.manual_seed(0)
    layer = nn.SLSTM(3, 6, **options).double()
    with torch.no_grad():
        layer.weight_hh.normal_()
        layer.bias.add_(0.3 * torch.randn_like(layer.bias))
    return layer


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
@pytest.mark.parametrize("heads", [1, 2, 6])
def test_equals_the_equations(heads, forget_gate):
    layer, x = make(heads=heads, forget_gate=forget_gate), torch.randn(2, 15, 3, dtype=torch.float64)
    y, _ = layer(x)
    np.testing.assert_allclose(y.detach().numpy(), run(layer, x.numpy()), rtol=1e-9, atol=1e-12)
    assert_gradients_equal_differences(layer, y, lambda: run(layer, x.numpy()))


def test_heads_do_not_see_each_other_within_a_step():
    layer, x = make(heads=3), torch.randn(1, 4, 3, dtype=torch.float64)
    h, c, n, m = (s.detach().clone() for s in layer(x)[1])
    h.requires_grad_()
    (y, _) = layer(x[:, :1], (h, c, n, m))
    (grad,) = torch.autograd.grad(y[0, 0, 0], h)
    assert grad[0, :2].all()
    assert not grad[0, 2:].any()


@pytest.mark.parametrize("gate", [1e4, -1e4])
@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
def test_gates_that_overflow(forget_gate, gate):
    """An exponential gate of e^10000 has no number, but what it leads to has."""
    layer = nn.SLSTM(1, 2, forget_gate=forget_gate)
    with torch.no_grad():
        layer.weight_ih.zero_()
        layer.weight_ih[2:6] = 1.0  # i and f
        layer.weight_ih[:2] = 0.5e-4
    x = torch.tensor([[1.0], [gate], [-gate], [2.0]])[None].requires_grad_()
    y, state = layer(x)
    grads = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    assert all(found.isfinite().all() for found in (y, *state, *grads))


def test_the_forget_gates_start_spread():
    layer = nn.SLSTM(3, 8, heads=2)
    of_f = layer.bias.view(2, 4, 4)[:, 2]
    assert of_f[:, 0].tolist() == [5.0, 5.0]
    assert of_f[:, -1].tolist() == [-7.0, -7.0]
    assert not layer.bias.view(2, 4, 4)[:, [0, 1, 3]].any()
    assert nn.SLSTM(3, 1).bias[2] == 5


@pytest.mark.unchecked
def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="hidden_size must be a multiple of heads, got 6 and 4"):
        nn.SLSTM(3, 6, heads=4)
    with pytest.raises(ValueError, match="forget_gate must be one of sigmoid, exp, got 'tanh'"):
        nn.SLSTM(3, 6, forget_gate="tanh")  # pyright: ignore[reportArgumentType]
