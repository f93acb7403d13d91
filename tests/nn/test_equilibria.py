"""Equilibria of flip-flops against SciPy's root finder, simulation, and what is known in closed form."""

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime, fsolve

from remanence import nn

KINDS = ["inhibitory", "shunting", "excitatory"]


def drift_of(layer, pair):
    """(dq/dt, dr/dt) of one pair at x = 0, written out from the docstring of CFF."""
    p = {name: value.detach().double().numpy() for name, value in layer.named_parameters() if name != "weight_ih"}
    polarity = {"inhibitory": -1, "shunting": 0, "excitatory": 1}[layer.self_synapse]

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    def rate(state):
        result = []
        for i in range(2):
            value = {name: array.reshape(2, -1)[i, pair] for name, array in p.items()}
            C = np.exp(value["log_capacitance"])
            v, u = state[i], state[1 - i]
            own = sigmoid(np.exp(value["log_slope_self"]) * (v - value["threshold_self"]))
            other = sigmoid(np.exp(value["log_slope_mutual"]) * (u - value["threshold_mutual"]))
            E_s = polarity * np.exp(value.get("log_potential_self", 0.0))
            current = np.exp(value["log_leak"]) * (value["leak_potential"] - v)
            current += (
                C * np.exp(value["log_conductance_input"]) * sigmoid(value["bias"]) * (value["potential_input"] - v)
            )
            current += np.exp(value["log_conductance_mutual"]) * other * (-np.exp(value["log_potential_mutual"]) - v)
            current += np.exp(value["log_conductance_self"]) * own * (E_s - v)
            result.append(current / C)
        return np.array(result)

    return rate


def by_force(rate):
    """All roots that fsolve finds from a grid of starts, with their stability by a numerical Jacobian."""
    found = []
    for q in np.linspace(-2, 2, 13):
        for r in np.linspace(-2, 2, 13):
            root, _, flag, _ = fsolve(rate, (q, r), full_output=True, xtol=1e-12)
            if flag == 1 and np.abs(rate(root)).max() < 1e-9 and all(np.abs(root - f).max() > 1e-6 for f in found):
                found.append(root)
    found.sort(key=lambda root: root[0])
    jacobians = [
        np.stack([np.asarray(approx_fprime(root, lambda s, i=i: rate(s)[i], 1e-7)) for i in range(2)]) for root in found
    ]
    return np.array(found), [np.linalg.eigvals(jacobian).real.max() < 0 for jacobian in jacobians]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [0.0, 0.3, 0.8])
def test_all_equilibria_are_those_that_a_root_finder_finds(kind, spread):
    layer = nn.CFF(2, 5, self_synapse=kind, horizon=5).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    q, r, stable = layer.equilibria()
    for pair in range(5):
        expected, expected_stable = by_force(drift_of(layer, pair))
        there = ~q[:, pair].isnan()
        np.testing.assert_allclose(torch.stack([q, r], -1)[there, pair], expected, atol=1e-7)
        assert stable[there, pair].tolist() == expected_stable
        assert not stable[~there, pair].any()
    assert layer.bistable().tolist() == (stable.sum(0) > 1).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_bistable_pairs_are_those_that_keep_two_bits_apart(kind):
    torch.manual_seed(1)
    layer = nn.CFF(3, 200, self_synapse=kind, horizon=5).double()
    with torch.no_grad():
        layer.log_conductance_mutual.add_(torch.empty(200).uniform_(-2.5, 0.5))
        corner = torch.ones(1, 200, dtype=torch.float64)
        q, r = torch.cat([corner, -0.5 * corner]), torch.cat([-0.5 * corner, corner])
        _, (q, _) = layer(torch.zeros(2, 20_000, 3, dtype=torch.float64), (q, r))
    apart = q[0] - q[1] > 1e-3
    assert 20 < apart.sum() < 180
    assert layer.bistable().tolist() == apart.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_start_every_pair_is_bistable_and_steep_slopes_keep_it_so(kind):
    layer = nn.CFF(3, 64, self_synapse=kind)
    assert layer.bistable().all()
    assert layer.bistable().shape == (64,)
    with torch.no_grad():
        layer.log_slope_mutual.add_(2.0)  # gains of 60: both ends saturate
    assert layer.bistable().all()


def test_without_mutual_inhibition_there_is_one_equilibrium_and_it_is_known():
    layer = nn.CFF(3, 8, self_synapse="shunting").double()
    with torch.no_grad():
        layer.log_conductance_mutual.fill_(-40.0)
        layer.log_conductance_self.fill_(-40.0)
        layer.bias.fill_(-50.0)
    q, r, stable = layer.equilibria()
    assert q.shape == (1, 8)
    assert stable.all()
    torch.testing.assert_close(torch.cat([q, r]), layer.leak_potential.detach())
    assert not layer.bistable().any()


def test_a_symmetric_pair_turns_bistable_where_its_antisymmetric_mode_turns_unstable():
    layer = nn.CFF(1, 40, self_synapse="shunting").double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(parameter.flatten()[0].expand(parameter.shape))
        layer.log_conductance_mutual.copy_(torch.linspace(-3, 2, 40).expand(2, 40))
    q, r, _ = layer.equilibria()
    symmetric = ((q - r).abs() < 1e-9).int().argmax(0)
    for pair in range(40):
        v = float(q[symmetric[pair], pair])
        assert v == pytest.approx(float(r[symmetric[pair], pair]), abs=1e-9)
        rate, eps = drift_of(layer, pair), 1e-6
        mode = (rate([v + eps, v - eps]) - rate([v - eps, v + eps]))[0] / (2 * eps)
        assert bool(layer.bistable()[pair]) == (mode > 0)
    assert 5 < layer.bistable().sum() < 35


def test_a_flip_flop_flips_and_holds_for_ten_thousand_steps():
    layer = nn.CFF(2, 16, horizon=3)
    with torch.no_grad():
        layer.weight_ih.zero_()
        layer.weight_ih[:16, 0] = 2.5  # the first input opens the gates of q, the second those of r
        layer.weight_ih[16:, 1] = 2.5
        assert layer.bistable().all()

        def pulse(channel):
            x = torch.zeros(1, 60, 2)
            x[..., channel] = 1.0
            return x

        silence = torch.zeros(1, 10_000, 2)
        before, state = layer(silence)
        _, state = layer(pulse(0), state)
        held, state = layer(silence, state)
        _, state = layer(pulse(1), state)
        after, _ = layer(silence, state)
    assert (before[:, -1] < 0).all()
    assert (held[:, -1] > 0.3).all()
    assert (after[:, -1] < 0).all()
    stable_q = layer.equilibria().q[layer.equilibria().stable].view(2, 16).float()
    torch.testing.assert_close(held[0, -1], stable_q[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(after[0, -1], stable_q[0], atol=1e-4, rtol=0)
