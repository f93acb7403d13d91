"""When a Fastlane grows, what it says then, and what keeps it in hand."""

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from remanence import nn

pytestmark = pytest.mark.filterwarnings("error::remanence.nn.FastlaneOverflowWarning")


def exciting(neurons=12, **options):
    """No inputs, no bias, and weights that only add."""
    layer = nn.Fastlane(1, neurons, **options).double()
    with torch.no_grad():
        layer.bias.zero_()
        layer.weight_hh.uniform_(0, 0.3)
        if layer.weight_hh.ndim == 2:
            layer.weight_hh.fill_diagonal_(0)
    return layer


def run(layer, time, batch=1, start=1.0):
    x = torch.zeros(batch, time, 1, dtype=torch.float64)
    return layer(x, torch.full((batch, layer.hidden_size), start, dtype=torch.float64))[0].detach()


@pytest.mark.parametrize("options", [{}, {"ticks": 2}, {"leak": 0.5}, {"order": "random", "density": 0.3}])
def test_growth_is_the_spectral_radius(options):
    layer = exciting(**options)
    y = run(layer, 100)
    growth = (y[0, -1].norm() / y[0, -2].norm()).item()
    assert growth == pytest.approx(layer.spectral_radius(), rel=1e-6)
    assert growth > 1


def test_the_map_is_the_derivative_of_a_step():
    layer = nn.Fastlane(2, 9, density=0.5, order="random", ticks=2, nonlinearity="identity", leak=0.2).double()
    x, n = torch.randn(1, 1, 2, dtype=torch.float64), torch.randn(1, 9, dtype=torch.float64)
    whole = jacobian(lambda n: layer(x, n)[1], n)
    assert isinstance(whole, torch.Tensor)
    J = whole[0, :, 0]
    torch.testing.assert_close(layer.effective_map(), J)
    relu = nn.Fastlane(2, 9, order="random").double()
    _, after = relu(x, n)
    whole = jacobian(lambda n: relu(x, n)[1], n)
    assert isinstance(whole, torch.Tensor)
    J = whole[0, :, 0]
    torch.testing.assert_close(relu.effective_map((after[0] > 0).double()), J)


def test_excitation_without_a_leak_explodes_if_and_only_if_there_is_a_cycle():
    tree = np.tril(np.ones((12, 12), dtype=int), -1)
    assert exciting(wiring=tree).spectral_radius() == pytest.approx(1, abs=1e-3)
    with_a_cycle = tree.copy()
    with_a_cycle[0, 11] = 1
    assert exciting(wiring=with_a_cycle).spectral_radius() > 1.01


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh", "identity"])
@pytest.mark.parametrize("density", [0.3, 1.0])
def test_a_max_norm_below_the_leak_bounds_every_value(nonlinearity, density):
    layer = nn.Fastlane(3, 20, density=density, leak=0.3, max_norm=0.2, nonlinearity=nonlinearity).double()
    with torch.no_grad():
        layer.weight_hh.mul_(1000)
    assert layer.weights().abs().sum(1).max() <= 0.2 + 1e-12
    assert layer.spectral_radius() < 1
    x = torch.randn(2, 300, 3, dtype=torch.float64)
    drive = torch.nn.functional.linear(x, layer.weight_ih, layer.bias).abs().max()
    y, _ = layer(x)
    assert y.abs().max() <= drive / (0.3 - 0.2)


def test_small_weights_are_left_alone_by_max_norm():
    torch.manual_seed(0)
    free = nn.Fastlane(3, 8)
    torch.manual_seed(0)
    bounded = nn.Fastlane(3, 8, max_norm=1.0)
    assert torch.equal(free.weights(), bounded.weights())


@pytest.mark.parametrize("density", [0.5, 1.0])
def test_sparse_initialisation_leaves_so_many_edges(density):
    layer = nn.Fastlane(3, 30, density=density, initial_edges=4)
    assert ((layer.weights() != 0).sum(1) == 4).all()
    assert layer.weight_hh.numel() > 4 * 30


def test_overflow_is_reported_once_by_layer_and_step():
    layer = exciting(4)
    with torch.no_grad():
        layer.weight_hh.mul_(1e3)
    y = run(layer.float().double(), 5)
    assert y.isfinite().all()
    with pytest.warns(nn.FastlaneOverflowWarning, match=r"Fastlane\(input_size=1, hidden_size=4") as caught:
        y = run(layer, 400)
    first = int((~y.isfinite()).any(2).any(0).nonzero()[0])
    assert f"from step {first} of 400 on" in str(caught[0].message)
    with pytest.warns(nn.FastlaneOverflowWarning, match=r"2 neurons \(0, 2\)"):
        nn.Fastlane(1, 3, density=0.0)(torch.zeros(1, 2, 1), torch.tensor([[torch.inf, 0, torch.nan]]))
    broken = exciting(4)
    torch.nn.init.constant_(broken.weight_hh, torch.nan)
    with pytest.warns(nn.FastlaneOverflowWarning, match=r"4 neurons .* from step 0 .* grow by nan"):
        run(broken, 2)
    run(layer, 400)  # not again: a warning is an error here


def test_large_but_finite_values_are_no_overflow():
    layer = nn.Fastlane(1, 50, density=0.0)
    torch.nn.init.zeros_(layer.bias)
    y, _ = layer(torch.zeros(1, 3, 1), torch.full((1, 50), 3e38))  # their sum overflows
    assert y.isfinite().all()
