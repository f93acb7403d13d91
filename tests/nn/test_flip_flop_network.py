"""Flip-flops that are wired to each other, and the ways the input can act on them."""

import numpy as np
import pytest
import torch

from remanence import nn, wiring

WIRINGS = {
    "ring": lambda: wiring.lattice((6,), periodic=True),
    "sheet": lambda: wiring.lattice((2, 3)),
    "block": lambda: wiring.lattice((1, 2, 3), periodic=True),
    "random": lambda: wiring.random(6, 0.4, seed=0).with_signs(0.5),
    "small world": lambda: wiring.small_world(6, neighbours=2, rewired=0.3, seed=0),
    "matrix": lambda: np.eye(6, k=1, dtype=int) - np.eye(6, k=-2, dtype=int),
}


def noisy(layer):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer.double()


def as_ltc(layer):
    """The same network as an LTC of 2 hidden_size neurons, synapse by synapse."""
    pairs, lateral = layer.hidden_size, layer.lateral
    adjacency = np.zeros((2 * pairs, 2 * pairs), dtype=np.int8)
    value = {name: p.detach() for name, p in layer.named_parameters()}
    columns = {}

    def synapse(receiver, sender, sign, log_weight, slope, threshold, log_potential):
        adjacency[receiver, sender] = sign
        columns[receiver, sender] = torch.stack([log_weight, slope, threshold, log_potential])

    for i in range(pairs):
        for row, (own, other) in enumerate(((i, i + pairs), (i + pairs, i))):
            for kind, sender in (("mutual", other), ("self", own)):
                of = [value[f"{name}_{kind}"][row, i] for name in ("log_conductance", "log_slope", "threshold")]
                synapse(own, sender, -1, of[0], of[1].exp(), of[2], value[f"log_potential_{kind}"][row, i])
    for edge, (receiver, sender) in enumerate(zip(lateral.receiver.tolist(), lateral.sender.tolist(), strict=True)):
        of = [value[f"lateral.{name}"][edge] for name in ("log_weight", "slope", "threshold", "log_potential")]
        synapse(receiver, sender, int(lateral.sign[edge]), *of)
    sensory = layer.sensory
    signs = np.zeros((2 * pairs, layer.input_size), dtype=np.int8)
    signs[sensory.receiver, sensory.sender] = sensory.sign.numpy()
    ltc = nn.LTC(
        layer.input_size,
        2 * pairs,
        wiring=wiring.Wiring(adjacency, signs),
        sub_steps=layer.sub_steps,
        input_mapping=False,
        output_mapping=False,
    ).double()
    with torch.no_grad():
        ltc.log_capacitance.copy_(value["log_capacitance"].flatten())
        ltc.log_leak.copy_(value["log_leak"].flatten())
        ltc.leak_potential.copy_(value["leak_potential"].flatten())
        ltc.sensory.load_state_dict(sensory.state_dict())
        order = zip(ltc.synapses.receiver.tolist(), ltc.synapses.sender.tolist(), strict=True)
        names = ("log_weight", "slope", "threshold", "log_potential")
        for name, values in zip(names, torch.stack([columns[edge] for edge in order]).unbind(1), strict=True):
            getattr(ltc.synapses, name).copy_(values)
    return ltc


@pytest.mark.parametrize("name", sorted(WIRINGS))
@pytest.mark.parametrize("timed", [False, True])
def test_a_wired_layer_is_an_ltc(name, timed):
    layer = noisy(nn.CFF(3, 6, sub_steps=2, input_synapse="exact", wiring=WIRINGS[name](), horizon=4))
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    spans = torch.rand(2, 5, dtype=torch.float64) + 0.2 if timed else None
    q, r = (torch.randn(2, 6, dtype=torch.float64) for _ in range(2))
    y, last = layer(x, (q, r), timespans=spans)
    expected, v = as_ltc(layer)(x, torch.cat([q, r], -1), timespans=spans)
    torch.testing.assert_close(y, expected[..., :6], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(torch.cat(last, -1), v, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gate", "affine", "exact"])
@pytest.mark.parametrize("self_synapse", ["inhibitory", "shunting", "excitatory"])
def test_without_edges_it_is_the_isolated_layer(kind, self_synapse):
    options = {"sub_steps": 2, "input_synapse": kind, "self_synapse": self_synapse, "horizon": 5}
    alone = noisy(nn.CFF(3, 4, **options))
    wired = nn.CFF(3, 4, wiring=wiring.empty(4), **options).double()
    wired.load_state_dict(alone.state_dict(), strict=False)
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    weights = torch.randn(2, 6, 4, dtype=torch.float64)
    grads = []
    for layer in (alone, wired):
        y, (q, r) = layer(x)
        ((weights * y).sum() + r.sum()).backward()
        grads.append((y, q, r, {name: p.grad for name, p in layer.named_parameters() if "lateral" not in name}))
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-8, atol=1e-9)


def test_a_constant_potential_is_the_affine_one_before_training():
    gate, affine = nn.CFF(3, 4), nn.CFF(3, 4, input_synapse="affine")
    affine.load_state_dict(gate.state_dict(), strict=False)
    x = torch.randn(2, 6, 3)
    torch.testing.assert_close(affine(x)[0], gate(x)[0])
    affine(x)[0].sum().backward()
    assert affine.weight_potential.grad is not None
    assert affine.weight_potential.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["gate", "affine", "exact"])
@pytest.mark.parametrize("wired", [False, True])
def test_every_pair_is_bistable_at_the_start_and_holds_without_input(kind, wired):
    graph = wiring.lattice((8,), periodic=True) if wired else None
    layer = nn.CFF(2, 8, input_synapse=kind, wiring=graph)
    assert layer.bistable().all()
    ones, silence = torch.ones(1, 8), torch.zeros(1, 2000, 2)
    with torch.no_grad():
        low, _ = layer(silence, (-0.3 * ones, 0.6 * ones))
        high, _ = layer(silence, (0.6 * ones, -0.3 * ones))
    assert (high[:, -1] - low[:, -1]).min() > 0.3


def test_a_synapse_between_pairs_carries_a_signal():
    chain = np.zeros((3, 3), dtype=int)
    chain[1, 0] = 1  # 0 excites 1, 2 stands alone
    layer = nn.CFF(1, 3, wiring=chain, horizon=1)
    low = torch.full((1, 3), -0.3), torch.full((1, 3), 0.6)
    high = low[0].clone(), low[1].clone()
    high[0][0, 0], high[1][0, 0] = 0.6, -0.3
    with torch.no_grad():
        before, after = (layer(torch.zeros(1, 5, 1), state)[0][0, -1] for state in (low, high))
    moved = (after - before).abs()
    assert moved[0] > 0.3
    assert moved[1] > 1e-4
    assert moved[2] == 0


@pytest.mark.unchecked
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="diagonal of the wiring must be 0"):
        nn.CFF(2, 3, wiring=np.eye(3, dtype=int))
    with pytest.raises(ValueError, match="hidden_size is 3 pairs, but the wiring has 4"):
        nn.CFF(2, 3, wiring=wiring.empty(4))
    with pytest.raises(ValueError, match="input_synapse must be one of gate, affine, exact"):
        nn.CFF(2, 3, input_synapse="linear")  # pyright: ignore[reportArgumentType]


def test_the_wiring_is_saved_with_the_layer():
    layer = nn.CFF(2, 6, wiring=WIRINGS["random"]())
    assert layer.wiring == WIRINGS["random"]()
