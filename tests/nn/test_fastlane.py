"""Fastlane against a literal transcription of its rule, and in cases that are known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from remanence import nn, wiring
from remanence.nn.fastlane import learn_order

FUNCTIONS = {
    "relu": lambda a: np.maximum(a, 0),
    "leaky_relu": lambda a: np.where(a < 0, 0.01 * a, a),
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "softplus": lambda a: np.logaddexp(a, 0),
}


def transcribed(layer, x, n):
    """n_a <- f((1 - leak) n_a + sum over i != a of w_ai n_i + sum over k of u_ak x_k + b_a), neuron by neuron."""
    f, bias = FUNCTIONS[layer.nonlinearity], layer.bias.tolist()
    synapses = list(map(tuple, np.argwhere(layer.wiring_adjacency.numpy()).tolist()))
    if layer.weight_hh.ndim == 2:
        w = {(a, i): layer.weight_hh[a, i].item() for a, i in synapses}
    else:
        w = dict(zip(synapses, layer.weight_hh.tolist(), strict=True))
    heard = [(a, k) for a in range(layer.hidden_size) for k in range(layer.input_size) if layer.sensory[a, k]]
    u = dict(zip(heard, layer.weight_ih.flatten().tolist(), strict=True))
    outputs = np.empty((len(x), x.shape[1], layer.output_size))
    n = n.copy()
    for sample in range(len(x)):
        for t in range(x.shape[1]):
            for _ in range(layer.ticks):
                for a in layer.order.tolist():
                    total = (1 - layer.leak) * n[sample, a] + bias[a]
                    total += sum(w[a, i] * n[sample, i] for i in range(layer.hidden_size) if (a, i) in w)
                    total += sum(u[a, k] * x[sample, t, k] for k in range(layer.input_size) if (a, k) in u)
                    n[sample, a] = f(total)
            outputs[sample, t] = n[sample, layer.outputs.numpy()]
    return outputs, n


def assert_transcribed(layer, batch=2, time=4):
    x = torch.randn(batch, time, layer.input_size, dtype=torch.float64)
    n = torch.randn(batch, layer.hidden_size, dtype=torch.float64)
    y, final = layer.double()(x, n)
    expected, expected_final = transcribed(layer, x.numpy(), n.numpy())
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(final.detach().numpy(), expected_final, rtol=1e-10, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    neurons=st.integers(1, 20),
    batch=st.integers(1, 4),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    order=st.sampled_from(["index", "random", "topology"]),
    ticks=st.integers(1, 3),
    leak=st.sampled_from([0.0, 0.3]),
    nonlinearity=st.sampled_from(sorted(FUNCTIONS)),
    seed=st.integers(0, 99),
)
def test_equals_the_rule(neurons, batch, density, order, ticks, leak, nonlinearity, seed):
    torch.manual_seed(seed)
    layer = nn.Fastlane(
        2, neurons, density=density, order=order, ticks=ticks, leak=leak, nonlinearity=nonlinearity, seed=seed
    )
    assert_transcribed(layer, batch)


@pytest.mark.parametrize("density", [0.3, 1.0])
def test_chosen_inputs_and_outputs(density):
    layer = nn.Fastlane(3, 6, density=density, inputs=[4, 0], outputs=[5, 1, 2])
    assert layer.weight_ih.shape == (6,)
    assert_transcribed(layer)
    all_reordered = nn.Fastlane(3, 6, density=density, outputs=[5, 4, 3, 2, 1, 0])
    assert_transcribed(all_reordered)


def test_a_wiring_says_who_hears_and_who_is_read():
    graph = wiring.auto_ncp(4, 20, outputs=3, seed=0)
    assert graph.sensory is not None
    layer = nn.Fastlane(
        4, 20, wiring=wiring.Wiring(graph.adjacency - np.diag(np.diag(graph.adjacency)), graph.sensory, graph.layer)
    )
    assert (layer.output_size, layer.weight_ih.numel()) == (3, np.count_nonzero(graph.sensory))
    assert_transcribed(layer)


def test_without_edges_it_is_persistent():
    layer, persistent = nn.Fastlane(3, 5, density=0.0), nn.PersistentLinear(3, 5)
    persistent.load_state_dict({"weight_ih": layer.weight_ih, "bias": layer.bias})
    x, n = torch.randn(2, 9, 3), torch.rand(2, 5)
    torch.testing.assert_close(layer(x, n), persistent(x, n))


@pytest.mark.parametrize("density", [0.2, 1.0])
def test_permuting_order_and_weights_together_changes_nothing(density):
    graph = wiring.random(12, density, seed=1)
    layer = nn.Fastlane(3, 12, wiring=graph, order="random", ticks=2).double()
    p = np.random.default_rng(2).permutation(12)  # the new neuron k is the old p[k]
    renamed = wiring.Wiring(graph.adjacency[p][:, p])
    twin = nn.Fastlane(3, 12, wiring=renamed, order=np.argsort(p)[layer.order], ticks=2).double()
    w = layer.weights().detach()[p][:, p]
    with torch.no_grad():
        twin.weight_hh.copy_(w if density == 1 else w[torch.from_numpy(renamed.adjacency != 0)])
        twin.weight_ih.copy_(layer.weight_ih[p])
        twin.bias.copy_(layer.bias[p])
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    torch.testing.assert_close(twin(x)[0], layer(x)[0][..., p])


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_a_chain_passes_a_value_in_one_step_or_in_as_many_as_it_has_neurons(order):
    N = 10
    chain = np.diag(np.ones(N - 1, dtype=int), -1)  # 0 -> 1 -> 2 ...
    layer = nn.Fastlane(1, N, wiring=chain, order=list(range(N) if order == "forwards" else range(N)[::-1]), inputs=[0])
    with torch.no_grad():
        for parameter, value in ((layer.weight_hh, 1), (layer.weight_ih, 1), (layer.bias, 0)):
            parameter.fill_(value)
    y, _ = layer(F.one_hot(torch.tensor([0]), N).float()[..., None])
    arrived = (y[0] > 0).float().argmax(0)
    assert arrived.tolist() == ([0] * N if order == "forwards" else list(range(N)))


@pytest.mark.parametrize(("nonlinearity", "holds"), [("relu", True), ("tanh", False)])
def test_what_is_held_over_100_000_steps(nonlinearity, holds):
    layer = nn.Fastlane(1, 3, wiring=[[0, 1, 0], [0, 0, 0], [0, 0, 0]], nonlinearity=nonlinearity)
    torch.nn.init.zeros_(layer.bias)
    n = torch.tensor([[0.0, 0.0, 0.7234]])
    _, final = layer(torch.zeros(1, 100_000, 1), n)
    assert torch.equal(final[:, 2], n[:, 2]) == holds
    assert holds or final[0, 2] < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("density", [0.3, 0.6])  # edge by edge, and as a matrix
@pytest.mark.parametrize("options", [{"ticks": 3}, {"leak": 0.2, "nonlinearity": "tanh"}, {"max_norm": 0.5}])
def test_gradcheck(density, options):
    layer = nn.Fastlane(2, 5, density=density, order="random", outputs=[4, 1], inputs=[0, 3], **options).double()
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(x, n, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x, n))

    x, n = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4, 2), (3, 5)))
    assert torch.autograd.gradcheck(run, (x, n, *parameters))
    assert torch.autograd.gradgradcheck(run, (x, n, *parameters))


def test_another_order_is_taken_over_by_a_state_dict():
    layer, other = nn.Fastlane(2, 6), nn.Fastlane(2, 6, order="random", seed=1)
    x = torch.randn(2, 4, 2)
    assert not torch.equal(layer(x)[0], other(x)[0])
    layer.load_state_dict(other.state_dict())
    torch.testing.assert_close(layer(x), other(x))
    layer.fire_in(list(range(6)))
    assert not torch.equal(layer(x)[0], other(x)[0])


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wiring": np.eye(4, dtype=int)}, r"must not be connected to themselves,.*\[0, 1, 2, 3\]"),
        ({"wiring": np.ones((3, 3), dtype=int)}, "hidden_size is 4, but the wiring has 3 neurons"),
        ({"density": 1.5}, "density must be a probability"),
        ({"order": [0, 1, 2]}, "order must name each"),
        ({"inputs": [4]}, "inputs must list neurons from 0 to 3"),
        ({"outputs": []}, "outputs must list"),
        ({"ticks": 0}, "ticks must be a positive integer"),
        ({"nonlinearity": "rleu"}, "one of relu, leaky_relu, tanh"),
        ({"leak": 1.5}, "leak must be between 0 and 1"),
        ({"max_norm": 0}, "max_norm must be above 0"),
        ({"initial_edges": 0}, "initial_edges must be a positive integer"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        nn.Fastlane(3, 4, **options)


def test_an_order_is_found_again_by_its_loss():
    torch.manual_seed(3)
    layer = nn.Fastlane(2, 6, density=0.5, nonlinearity="tanh").double()
    torch.nn.init.normal_(layer.weight_hh)
    x = torch.randn(4, 8, 2, dtype=torch.float64)
    target = layer(x)[0].detach()
    weights = {name: value.clone() for name, value in layer.named_parameters()}
    layer.fire_in([5, 4, 3, 2, 1, 0])
    losses = learn_order(layer, lambda: F.mse_loss(layer(x)[0], target), trials=300)
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 0.01
    assert losses[-1] < 1e-20
    torch.testing.assert_close(layer(x)[0], target)
    for name, value in layer.named_parameters():
        assert torch.equal(value, weights[name])


def test_a_worse_order_is_left_again():
    layer = nn.Fastlane(1, 4)
    losses = iter([1.0, *[2.0] * 5, *[float("nan")] * 5])
    assert learn_order(layer, lambda: next(losses), trials=10) == [1.0] * 11
    assert layer.order.tolist() == [0, 1, 2, 3]
