"""Persistent activations against a transcription in NumPy and a closed form."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from remanence import nn

FUNCTIONS = {
    "relu": lambda a: np.maximum(a, 0),
    "leaky_relu": lambda a: np.where(a < 0, 0.01 * a, a),
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "softplus": lambda a: np.logaddexp(a, 0),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_equals_the_equation(name):
    layer = nn.PersistentLinear(3, 5, nonlinearity=name).double()
    x, n = torch.randn(2, 6, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    y, _ = layer(x, n)
    W, b, held = layer.weight_ih.detach().numpy(), layer.bias.detach().numpy(), n.numpy()
    for t in range(6):
        held = FUNCTIONS[name](held + x[:, t].numpy() @ W.T + b)
        np.testing.assert_allclose(y[:, t].detach().numpy(), held, rtol=1e-12)


def test_without_a_nonlinearity_it_sums():
    layer = nn.PersistentLinear(3, 5, nonlinearity="identity").double()
    x = torch.randn(2, 50, 3, dtype=torch.float64)
    y, _ = layer(x)
    torch.testing.assert_close(y, F.linear(x, layer.weight_ih, layer.bias).cumsum(1))


@pytest.mark.parametrize("function", [torch.tanh, F.softplus, F.gelu])
def test_any_pointwise_function(function):
    layer = nn.PersistentLinear(3, 5, nonlinearity=function)
    x = torch.randn(2, 4, 3)
    n = torch.zeros(2, 5)
    for x_t in x.unbind(1):
        n = function(n + F.linear(x_t, layer.weight_ih, layer.bias))
    torch.testing.assert_close(layer(x)[1], n)


@pytest.mark.unchecked
def test_unknown_nonlinearities_are_refused():
    with pytest.raises(ValueError, match=r"one of relu, leaky_relu, tanh.*got 'rleu'"):
        nn.PersistentLinear(3, 5, nonlinearity="rleu")  # pyright: ignore[reportArgumentType]
