"""The reciprocal gated cell against a transcription of its equations."""

import numpy as np
import pytest
import torch

from remanence import nn


def elu(a):
    return np.where(a > 0, a, np.exp(np.minimum(a, 0)) - 1)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def transcription(x, c, h, layer):
    """Nayebi et al. 2018, with the convolutions replaced by products with a diagonal."""
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    squash = {"tanh": np.tanh, "sigmoid": sigmoid}[layer.gate]
    n = layer.hidden_size
    tau_c, gate_c, tau_h, gate_h = p["weight_hh"]
    b_tau_c, b_gate_c, b_tau_h, b_gate_h = p["bias_hh"]
    outputs = []
    for t in range(x.shape[1]):
        cell_input = x[:, t] @ p["weight_ih"][:n].T + p["bias"][:n]
        out_input = x[:, t] @ p["weight_ih"][n:].T + p["bias"][n:]
        next_cell = (1 - squash(c * tau_c + b_tau_c)) * c + (1 - squash(h * gate_c + b_gate_c)) * cell_input
        next_out = (1 - squash(h * tau_h + b_tau_h)) * h + (1 - squash(c * gate_h + b_gate_h)) * out_input
        c, h = elu(next_cell), elu(next_out)
        outputs.append(h)
    return np.stack(outputs, 1), c, h


@pytest.mark.parametrize("gate", ["tanh", "sigmoid"])
def test_equals_the_equations(gate):
    layer = nn.ReciprocalGated(3, 5, gate=gate).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(4, 20, 3, dtype=torch.float64)
    c, h = torch.randn(2, 4, 5, dtype=torch.float64)
    y, state = layer(x, (c, h))
    expected = transcription(x.numpy(), c.numpy(), h.numpy(), layer)
    for ours, theirs in zip((y, *state), expected, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-10, atol=1e-10)


def test_with_all_gates_at_zero_it_adds_up_its_input():
    layer = nn.ReciprocalGated(1, 4)
    with torch.no_grad():
        layer.weight_hh.zero_()
        layer.bias.zero_()
        layer.weight_ih.abs_()
        x = torch.rand(2, 6, 1)
        y, _ = layer(x)
    torch.testing.assert_close(y, x.cumsum(1) * layer.weight_ih[4:, 0])


@pytest.mark.parametrize("gate", ["tanh", "sigmoid"])
def test_stays_bounded_over_long_noise(gate):
    layer = nn.ReciprocalGated(3, 32, gate=gate)
    with torch.no_grad():
        y, (c, _) = layer(3 * torch.randn(2, 3000, 3))
    assert torch.isfinite(y).all()
    assert max(y.abs().max(), c.abs().max()) < 1000


@pytest.mark.unchecked
def test_unknown_gates_are_refused():
    with pytest.raises(ValueError, match="gate must be one of tanh, sigmoid, got 'step'"):
        nn.ReciprocalGated(3, 4, gate="step")  # pyright: ignore[reportArgumentType]
