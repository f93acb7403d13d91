"""The minimal gated unit against its equations."""

import numpy as np
import torch

from remanence import nn
from tests.nn.transcription import assert_gradients_equal_differences, sigmoid


def run(layer, x, h):
    """Zhou et al. 2016, equations 7 and 8: one matrix for [h, x] in each of both."""
    W, U, b = (parameter.detach().numpy() for parameter in (layer.weight_ih, layer.weight_hh, layer.bias))
    n = layer.hidden_size
    forget, new = (np.concatenate([U[rows], W[rows]], 1) for rows in (slice(n), slice(n, None)))
    outputs = []
    for t in range(x.shape[1]):
        f = sigmoid(np.concatenate([h, x[:, t]], 1) @ forget.T + b[:n])
        candidate = np.tanh(np.concatenate([f * h, x[:, t]], 1) @ new.T + b[n:])
        h = (1 - f) * h + f * candidate
        outputs.append(h)
    return np.stack(outputs, 1)


def test_equals_the_equations():
    torch.manual_seed(0)
    layer = nn.MGU(3, 5).double()
    x, h = torch.randn(4, 20, 3, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    y, last = layer(x, h)
    np.testing.assert_allclose(y.detach().numpy(), run(layer, x.numpy(), h.numpy()), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(y[:, -1], last)
    assert_gradients_equal_differences(layer, y, lambda: run(layer, x.numpy(), h.numpy()))


def test_a_closed_gate_holds_and_an_open_one_is_a_simple_network():
    layer, x = nn.MGU(3, 5), torch.randn(2, 8, 3)
    _, h = layer(x)
    with torch.no_grad():
        layer.bias[:5] = -1000.0
        torch.testing.assert_close(layer(x, h)[1], h)
        layer.bias[:5] = 1000.0
        elman = nn.Elman(3, 5)
        for ours, theirs in zip((layer.weight_ih, layer.weight_hh, layer.bias), elman.parameters(), strict=True):
            theirs.copy_(ours[5:])
        torch.testing.assert_close(layer(x, h), elman(x, h))
