import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.analysis import holding
from remanence.nn import Elman, Fastlane, PersistentLinear

FUNCTIONS = {"relu": lambda a: np.maximum(a, 0), "tanh": np.tanh}


def literal(layer, x, n):
    """Values and net inputs, neuron by neuron in the order of firing."""
    f, w, u = FUNCTIONS[layer.nonlinearity], layer.weights().detach().numpy(), layer.input_weights().detach().numpy()
    b, n = layer.bias.detach().numpy(), n.copy()
    values, nets = [], []
    for x_t in np.repeat(x, layer.ticks, 0):
        net = np.zeros(len(n))
        for a in layer.order.tolist():
            for i in range(len(n)):
                if i != a:
                    net[a] += w[a, i] * n[i]
            for k in range(len(x_t)):
                net[a] += u[a, k] * x_t[k]
            net[a] += b[a]
            n[a] = f((1 - layer.leak) * n[a] + net[a])
        values.append(n.copy())
        nets.append(net)
    return np.stack(values), np.stack(nets)


@settings(max_examples=30, deadline=None)
@given(
    neurons=st.integers(1, 9),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    order=st.sampled_from(["index", "random"]),
    ticks=st.integers(1, 2),
    leak=st.sampled_from([0.0, 0.2]),
    nonlinearity=st.sampled_from(sorted(FUNCTIONS)),
    seed=st.integers(0, 99),
)
def test_net_input_is_what_arrives_when_the_neuron_fires(neurons, density, order, ticks, leak, nonlinearity, seed):
    torch.manual_seed(seed)
    layer = Fastlane(
        2, neurons, density=density, order=order, ticks=ticks, leak=leak, nonlinearity=nonlinearity, seed=seed
    ).double()
    x, h = torch.randn(3, 5, 2).double(), torch.rand(3, neurons).double()
    found = holding(layer, x, h)
    for sample in range(3):
        values, nets = literal(layer, x[sample].numpy(), h[sample].numpy())
        np.testing.assert_allclose(found.values[sample], values, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.net_input[sample], nets, rtol=1e-10, atol=1e-12)


def latch():
    """Inputs set and reset. Neuron 0 hears nothing; 1 keeps the bit; 2 is at 10 while anything comes in, else at 0."""
    layer = Fastlane(2, 3, outputs=[1]).double()
    with torch.no_grad():
        layer.weight_hh.zero_()
        layer.weight_ih.copy_(torch.tensor([[0.0, 0], [1, -2], [20, 20]]))
        layer.bias.copy_(torch.tensor([0.0, 0, -10]))
    return layer


def test_a_bit_that_is_set_is_held_until_it_is_reset():
    layer = latch()
    x = torch.zeros(1, 10, 2).double()
    x[0, 2, 0] = x[0, 8, 1] = 1.0
    found = holding(layer, x)
    assert found.values[0, :, 1].tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert found.held[0, :, 1].tolist() == [False] * 3 + [True] * 5 + [False] * 2
    assert found.share.tolist() == [0, 0.5, 0]
    assert found.net_input[0, :, 1].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, -2, 0]
    assert found.holders.tolist() == []  # half of the time is not most of it
    assert holding(layer, x[:, :8]).holders.tolist() == [1]


def test_what_moves_or_rests_at_zero_does_not_hold():
    layer = PersistentLinear(1, 2, nonlinearity="identity").double()
    with torch.no_grad():
        layer.weight_ih.copy_(torch.tensor([[1.0], [0.0]]))
        layer.bias.zero_()
    ramp = torch.full((1, 50, 1), 1.0).double()
    assert holding(layer, ramp).share.tolist() == [0, 0]
    assert holding(layer, ramp, tolerance=0.02).share[0] == 0.9  # a step of 1 in a range of 50, once above 5
    slow = holding(layer, 0 * ramp, torch.tensor([[1.0, 0.0]]).double())
    assert slow.share.tolist() == [1, 0]


def test_persistent_net_input_is_the_drive():
    layer = PersistentLinear(3, 4).double()
    x = torch.randn(2, 6, 3).double()
    found = holding(layer, x)
    expected = x @ layer.weight_ih.detach().T + layer.bias.detach()
    torch.testing.assert_close(found.net_input, expected)
    before = torch.cat([torch.zeros(2, 1, 4).double(), found.values[:, :-1]], 1)
    torch.testing.assert_close(found.values, torch.relu(before + expected))


def test_graph_has_the_weights_and_the_roles():
    layer = Fastlane(2, 5, density=0.5, order=[4, 2, 0, 1, 3], inputs=[0, 1], outputs=[3]).double()
    graph = holding(layer, torch.randn(2, 7, 2).double()).to_networkx()
    w, u = layer.weights().detach(), layer.input_weights().detach()
    between = {(i, a): float(w[a, i]) for a in range(5) for i in range(5) if w[a, i] != 0}
    into = {(f"x{k}", a): float(u[a, k]) for a in (0, 1) for k in range(2)}
    assert {(i, a): weight for i, a, weight in graph.edges(data="weight")} == between | into
    assert [graph.nodes[n]["place"] for n in range(5)] == [2, 3, 1, 4, 0]
    assert [graph.nodes[n]["sensory"] for n in range(5)] == [True, True, False, False, False]
    assert [graph.nodes[n]["output"] for n in range(5)] == [False, False, False, True, False]


def test_pictures():
    from matplotlib import pyplot

    for layer in (Fastlane(2, 30, density=0.2), PersistentLinear(2, 60)):
        found = holding(layer, torch.randn(2, 20, 2))
        assert "neurons hold" in found.plot().get_title()
        assert "neurons" in found.graph().get_title()
    pyplot.close("all")


def test_refusals():
    x = torch.randn(2, 5, 3)
    with pytest.raises(ValueError, match="PersistentLinear and Fastlane, got Elman"):
        holding(Elman(3, 4), x)
    with pytest.raises(ValueError, match="tolerance must be a fraction"):
        holding(PersistentLinear(3, 4), x, tolerance=2.0)
    with pytest.raises(ValueError, match=r"expected x \[batch, time, 2\]"):
        holding(PersistentLinear(2, 4), x)
