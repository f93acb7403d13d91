"""Continuous flip-flops against the ncps package, the differential equation, and their purpose: to hold a bit."""

import numpy as np
import pytest
import torch
from ncps.torch import LTCCell
from ncps.wirings import Wiring
from scipy.integrate import solve_ivp

from remanence import nn
from remanence.nn import CFF
from remanence.nn.flip_flop_step import PARAMETERS

KINDS = ["inhibitory", "shunting", "excitatory"]
MUTUAL = ["inhibitory", "shunting"]


def noisy(layer):
    """A layer whose parameters are all different."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        layer.bias.add_(4.0)
    return layer


def raw(layer, pair):
    """The conductances of one pair as the paper writes them: a dict of [q, r]."""
    value = {name: p[:, pair].detach() for name, p in layer.named_parameters() if p.shape == (2, layer.hidden_size)}
    positive = {name.removeprefix("log_"): p.exp() if name.startswith("log_") else p for name, p in value.items()}
    sign = {"inhibitory": -1.0, "shunting": 0.0, "excitatory": 1.0}[layer.self_synapse]
    return {
        "C": positive["capacitance"],
        "g": positive["leak"],
        "V": positive["leak_potential"],
        "gamma_x": positive["slope_input"],
        "w_x": positive["capacitance"] * positive["conductance_input"],
        "E_x": positive["potential_input"],
        "w_m": positive["conductance_mutual"],
        "E_m": -positive.get("potential_mutual", torch.zeros_like(positive["leak"])),
        "gamma_m": positive["slope_mutual"],
        "mu_m": positive["threshold_mutual"],
        "w_s": positive["conductance_self"],
        "E_s": sign * positive.get("potential_self", torch.zeros_like(positive["leak"])),
        "gamma_s": positive["slope_self"],
        "mu_s": positive["threshold_self"],
    }


class Pair(Wiring):
    """Two neurons, each with a synapse to the other and to itself, and one input to both."""

    def __init__(self):
        super().__init__(2)
        self.set_output_dim(1)
        for source in range(2):
            for target in range(2):
                self.add_synapse(source, target, 1 if source == target else -1)

    def build(self, input_dim):
        super().build(input_dim)
        for target in range(2):
            self.add_sensory_synapse(0, target, 1)


def ncps_twin(layer, pair):
    """The same pair as an LTC cell of the ncps package; one input, so that γ_x W x + b is its γ (x - μ)."""
    cell = LTCCell(Pair(), 1, ode_unfolds=layer.sub_steps, epsilon=0.0).double()
    p = raw(layer, pair)
    W = p["gamma_x"] * layer.weight_ih[:, 0].detach().view(2, -1)[:, pair]
    b = layer.bias.detach().view(2, -1)[:, pair]
    own, other = torch.eye(2, dtype=torch.bool), ~torch.eye(2, dtype=torch.bool)
    with torch.no_grad():
        for name, value in (("cm", p["C"]), ("gleak", p["g"]), ("vleak", p["V"])):
            cell._params[name].copy_(value)
        for name, mutual, self_ in (
            ("w", "w_m", "w_s"), ("sigma", "gamma_m", "gamma_s"), ("mu", "mu_m", "mu_s"), ("erev", "E_m", "E_s")
        ):  # fmt: skip
            matrix = torch.zeros(2, 2, dtype=torch.float64)  # [from, to]
            matrix[other] = p[mutual].flip(0)  # row-major: q to r, then r to q; a synapse belongs to who receives
            matrix[own] = p[self_]
            cell._params[name].copy_(matrix)
        for name, value in (("w", p["w_x"]), ("sigma", W), ("mu", -b / W), ("erev", p["E_x"])):
            cell._params[f"sensory_{name}"].copy_(value[None])
        for name in ("input_w", "output_w"):
            cell._params[name].fill_(1.0)
        for name in ("input_b", "output_b"):
            cell._params[name].zero_()
    return cell


@pytest.mark.slow
@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sub_steps", [1, 6])
def test_equals_ncps(kind, mutual, sub_steps):
    layer = noisy(nn.CFF(1, 3, sub_steps=sub_steps, self_synapse=kind, mutual_synapse=mutual).double())
    x, timespan = torch.randn(4, 20, 1, dtype=torch.float64), 0.7
    y, (q, r) = layer(x, timespans=torch.full((4, 20), timespan, dtype=torch.float64))
    for pair in range(3):
        cell = ncps_twin(layer, pair)
        v = torch.stack([state[:, pair] for state in layer.initial_state(4)], -1)
        outputs = []
        for x_t in x.unbind(1):
            out, v = cell(x_t, v, elapsed_time=timespan)
            outputs.append(out[:, 0])
        torch.testing.assert_close(y[..., pair], torch.stack(outputs, 1), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(torch.stack([q[:, pair], r[:, pair]], -1), v, rtol=1e-9, atol=1e-9)


def test_halving_the_sub_step_halves_the_error():
    layer = noisy(nn.CFF(1, 1, horizon=3).double())
    torch.nn.init.constant_(layer.log_capacitance, 1.5)
    p = {name: value.numpy() for name, value in raw(layer, 0).items()}
    x = torch.full((1, 1, 1), 0.4, dtype=torch.float64)
    opened = torch.sigmoid(torch.tensor(p["gamma_x"]) * (x[0, 0] @ layer.weight_ih.T) + layer.bias).detach().numpy()
    start = np.array([float(s) for s in layer.initial_state(1)])

    def rate(_, v):
        def synapse(w, gamma, mu, E, source):
            return w / (1 + np.exp(-gamma * (source - mu))) * (E - v)

        mutual = synapse(p["w_m"], p["gamma_m"], p["mu_m"], p["E_m"], v[::-1])
        onto_itself = synapse(p["w_s"], p["gamma_s"], p["mu_s"], p["E_s"], v)
        return (p["g"] * (p["V"] - v) + p["w_x"] * opened * (p["E_x"] - v) + mutual + onto_itself) / p["C"]

    exact = solve_ivp(rate, (0, 1), start, rtol=1e-11, atol=1e-12).y[:, -1]
    errors = []
    for sub_steps in (2, 4, 8):
        layer.sub_steps = sub_steps
        _, state = layer(x)
        errors.append(max(abs(v.item() - e) for v, e in zip(state, exact, strict=True)))
    assert errors[0] < 0.1
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("mutual", MUTUAL)
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_holds_a_bit_without_input(kind, mutual):
    layer = nn.CFF(3, 64, self_synapse=kind, mutual_synapse=mutual, horizon=30)
    assert layer.bistable().all()
    low, high = layer.initial_state(1)
    q, r = torch.cat([high, low]), torch.cat([low, high])
    with torch.no_grad():
        _, (q, r) = layer(torch.zeros(2, 2000, 3), (q, r))
    assert (q[0] - q[1] > 0.3).all()
    assert (r[1] - r[0] > 0.3).all()


def test_gates_start_closed_and_steep_and_a_third_of_the_pairs_outlasts_the_horizon():
    layer = nn.CFF(3, 4000, horizon=1000)
    assert (layer.log_capacitance.exp() > 1000).float().mean() == pytest.approx(0.33, abs=0.02)
    b, slope = layer.bias.view(2, -1), layer.log_slope_input.exp()
    slowness = layer.log_capacitance.clamp(max=np.log(1000))
    torch.testing.assert_close(b, torch.minimum(-2 - slowness, torch.tensor(-5.0)))
    torch.testing.assert_close(slope, -b)
    drive = slope.view(-1, 1) * layer.weight_ih
    assert drive.abs().max() <= 3**-0.5 + 1e-6
    assert drive.detach().std() == pytest.approx(1 / 3, rel=0.05)
    open_half = torch.sigmoid(slope * 1.0 + b)
    torch.testing.assert_close(open_half, torch.full_like(b, 0.5))


@pytest.mark.parametrize(("mutual", "low", "high"), [("inhibitory", 0.0, 0.3), ("shunting", 0.35, 0.5)])
def test_an_open_gate_writes_and_a_closed_one_keeps(mutual, low, high):
    layer = nn.CFF(1, 16, horizon=3, mutual_synapse=mutual)
    with torch.no_grad():
        layer.weight_ih.zero_()
        layer.weight_ih[:16] = 3.0  # a 1 opens the gates of q
        pulse = torch.zeros(1, 300, 1)
        pulse[:, 10:40] = 1.0
        y, _ = layer(pulse)
        silent, _ = layer(torch.zeros(1, 300, 1))
    assert (silent[0, -1] < low).all()
    assert (y[0, 9] < low).all()
    assert (y[0, -1] > high).all()


def test_the_cell_that_holds_by_exciting_itself_alone():
    """No leak, self-synapses that excite (E > 0), mutual ones that shunt (E = 0), steep slopes."""
    layer = nn.CFF(2, 16, self_synapse="excitatory", mutual_synapse="shunting", horizon=3)
    with torch.no_grad():
        layer.log_leak.fill_(-12.0)
        layer.log_conductance_input.fill_(3.0)  # nothing but the input moves a fast pair now
        layer.bias.fill_(-12.0)
        layer.weight_ih.zero_()
        layer.weight_ih[:16, 0] = layer.weight_ih[16:, 1] = 4.0  # one input opens the gates of q, the other those of r
        assert layer.bistable().all()

        def pulse(channel):
            return torch.nn.functional.one_hot(torch.tensor([channel]), 2).float().expand(1, 300, 2)

        silence, state, read = torch.zeros(1, 100_000, 2), None, []
        for x in (silence, pulse(0), silence, pulse(1), silence):
            y, state = layer(x, state)
            read.append(y[0, -1])
    assert (torch.stack([read[0], read[4]]) < 0.1).all()
    assert (torch.stack([read[1], read[2]]) > 0.9).all()
    at_rest = layer.equilibria()
    highest = at_rest.q.where(at_rest.stable, -1.0).amax(0).float()
    torch.testing.assert_close(read[2], highest, atol=1e-4, rtol=0)


@pytest.mark.unchecked
def test_wrong_options():
    with pytest.raises(ValueError, match="sub_steps must be 1 to 8, got 9"):
        nn.CFF(3, 4, sub_steps=9)
    with pytest.raises(ValueError, match="sub_steps must be a positive integer, got 0"):
        nn.CFF(3, 4, sub_steps=0)
    with pytest.raises(ValueError, match="one of inhibitory, shunting, excitatory, got 'exciting'"):
        nn.CFF(3, 4, self_synapse="exciting")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="mutual_synapse must be one of inhibitory, shunting, got 'excitatory'"):
        nn.CFF(3, 4, mutual_synapse="excitatory")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="horizon"):
        nn.CFF(3, 4, horizon=0)


def test_the_layer_declares_the_parameters_of_the_table():
    declared = [name for name, hint in CFF.__annotations__.items() if hint is torch.Tensor]
    assert declared == list(PARAMETERS)
    assert [name for name, _ in CFF(2, 3).named_parameters() if name in PARAMETERS] == list(PARAMETERS)
