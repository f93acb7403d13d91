import math

import pytest
import torch
from scipy.optimize import root_scalar
from torch import nn

from remanence.analysis import as_step, fixed_points
from remanence.analysis.step import Step
from remanence.nn import CFF, create, equilibria


def system(function, size):
    return as_step(lambda x_t, h: function(h), state=torch.zeros(1, size).double())


def linear(*rows):
    a = torch.tensor(rows).double()
    return system(lambda h: h @ a.T, len(a))


def turned(angle, by=1.0):
    return [[by * math.cos(angle), -by * math.sin(angle)], [by * math.sin(angle), by * math.cos(angle)]]


@pytest.mark.parametrize(("rows", "kind"), [
    ([[0.5, 3], [0, 0.9]], "globally asymptotically stable"),
    (turned(0.3, 0.98), "globally asymptotically stable"),
    ([[0.5, 0], [0, -1.2]], "saddle"),
    ([[-1.1, 0], [0, 1.5]], "unstable"),
    (turned(0.3, 1.05), "unstable"),
    (turned(0.3), "uniformly stable"),
])  # fmt: skip
def test_linear_maps(rows, kind):
    found = fixed_points(linear(*rows))
    assert found.points.shape == (1, 2)
    torch.testing.assert_close(found.points[0], torch.zeros(2).double())
    assert found.verdicts[0].kind == kind
    assert found.verdicts[0].confirmed, found.verdicts[0].reason
    assert found.verdicts[0].stable == ("unstable" not in kind and kind != "saddle")
    assert found.arrivals.tolist() == [256]


@pytest.mark.slow
@pytest.mark.parametrize(("sign", "kind"), [(-1, "asymptotically stable"), (1, "unstable")])
def test_where_the_linearisation_says_nothing_the_simulation_does(sign, kind):
    found = fixed_points(system(lambda h: h + sign * h * h.square().clamp_max(0.5), 1), radius=1.0, steps=6000)
    origin = found.points.abs().argmin()
    assert found.points[origin].abs() < 1e-2
    assert found.verdicts[origin].kind == kind
    assert "only the simulation" in found.verdicts[origin].reason


def test_what_moves_too_slowly_to_judge_is_undecided():
    found = fixed_points(system(lambda h: h + h**3, 1), radius=0.01, steps=100)
    assert found.verdicts[0].kind == "uniformly stable"  # within these steps
    found = fixed_points(system(lambda h: h + h**3, 1), steps=1000)
    assert found.verdicts[0].kind == "undecided"
    assert not found.verdicts[0].confirmed


def test_attracts_all_and_yet_is_not_stable():
    """On the circle all go round to angle 0, those just past it the long way (the half-stable point)."""

    def around(h):
        radius, angle = h.norm(dim=-1), torch.atan2(h[:, 1], h[:, 0])
        radius, angle = radius + 0.3 * (1 - radius), angle + 0.3 * (1 - angle.cos())
        return torch.stack([radius * angle.cos(), radius * angle.sin()], -1)

    found = fixed_points(system(around, 2), starts=torch.tensor([[1.01, 0.0]]).double())
    assert [each.kind for each in found.verdicts] == ["convergent"]
    assert not found.verdicts[0].stable


def test_what_the_simulation_cannot_confirm_says_so():
    found = fixed_points(linear([0.999]), steps=100)
    assert found.verdicts[0].kind == "asymptotically stable"
    assert not found.verdicts[0].confirmed
    assert "not all starts came back" in found.verdicts[0].reason


def test_henon_map_has_its_two_fixed_points():
    found = fixed_points(system(lambda h: torch.stack([1 - 1.4 * h[:, 0] ** 2 + h[:, 1], 0.3 * h[:, 0]], -1), 2))
    roots = sorted((-0.7 + sign * math.sqrt(0.49 + 5.6)) / 2.8 for sign in (1, -1))
    assert sorted(found.points[:, 0].tolist()) == pytest.approx(roots)
    assert [each.kind for each in found.verdicts] == ["saddle", "saddle"]


def test_a_map_without_fixed_points_has_none():
    found = fixed_points(system(lambda h: h + 1 + h.square(), 1), starts=8)
    assert len(found.points) == 0
    assert found.lost == 8


def test_a_constant_input_moves_the_point():
    cell = nn.RNNCell(2, 3).double()
    x = torch.randn(2).double()
    (h,) = fixed_points(cell, x).attractors
    torch.testing.assert_close(cell(x[None], h[None])[0].detach(), h)


def test_an_autapse_has_the_fixed_points_of_the_equation():
    found = fixed_points(system(lambda h: torch.tanh(1.5 * h), 1))
    high = root_scalar(lambda h: math.tanh(1.5 * h) - h, bracket=(0.1, 1)).root
    assert sorted(found.points[:, 0].tolist()) == pytest.approx([-high, 0, high])
    slope = 1.5 * (1 - high**2)
    assert found.eigenvalues.abs().min() == pytest.approx(slope)


def test_flip_flops_rest_where_their_equation_says():
    pair = CFF(1, 1).double()
    with torch.no_grad():
        pair.log_capacitance.fill_(1.0)
    expected = pair.equilibria()
    found = fixed_points(pair)
    order = found.points[:, 0].argsort()
    torch.testing.assert_close(found.points[order], torch.cat([expected.q, expected.r], 1), atol=1e-6, rtol=0)
    assert [found.verdicts[i].kind for i in order] == ["asymptotically stable", "saddle", "asymptotically stable"]
    assert all(each.confirmed for each in found.verdicts)
    assert isinstance(expected, equilibria.Equilibria)


def test_a_shift_register_is_given_the_time_it_takes_to_run_empty():
    (found,) = fixed_points(system(lambda h: torch.roll(h, 1, 1) * (torch.arange(30) > 0), 30), starts=8).verdicts
    assert found.kind == "globally asymptotically stable"
    assert found.confirmed


def test_two_flip_flops_have_all_pairs_of_their_states():
    torch.manual_seed(1)
    layer = CFF(1, 2).double()
    with torch.no_grad():
        layer.log_capacitance.fill_(0.5)
    assert (layer.equilibria().stable.sum(0) == 2).all()
    found = fixed_points(layer, starts=400, spread=0.5)
    kinds = [each.kind for each in found.verdicts]
    assert (kinds.count("asymptotically stable"), kinds.count("saddle")) == (4, 5)
    assert all(each.confirmed for each in found.verdicts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_either_precision(dtype):
    found = fixed_points(nn.GRU(2, 5).to(dtype), starts=32)
    assert [each.kind for each in found.verdicts] == ["globally asymptotically stable"]
    assert found.lost == 0


def test_stacked_layer():
    found = fixed_points(nn.LSTM(2, 3, num_layers=2).double(), starts=32)
    assert found.points.shape == (1, 12)
    assert found.verdicts[0].kind == "globally asymptotically stable"


def test_picture_of_nothing_and_of_points_on_a_line():
    assert len(fixed_points(system(lambda h: h + 1 + h.square(), 3), starts=4).plot().collections) == 0
    line = fixed_points(system(lambda h: torch.tanh(1.5 * h[:, :1]).expand(-1, 3), 3), starts=64).plot()
    assert all((each.get_offsets()[:, 1] == 0).all() for each in line.collections)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_picture(size):
    found = fixed_points(system(lambda h: torch.tanh(1.5 * h), size), starts=64)
    assert len(found.plot().collections) >= 2


def test_large_states_with_several_threads():
    """MKL's batched LU decomposition does not end there, which the search has to go round."""
    torch.set_num_threads(2)
    try:
        pull = torch.randn(140, 140, generator=torch.Generator().manual_seed(0)).double() / 40
        step = as_step(lambda x_t, h: torch.tanh(h @ pull.T + 0.1), state=torch.zeros(1, 140).double())
        found = fixed_points(step, starts=2, iterations=10, steps=50)
    finally:
        torch.set_num_threads(1)
    assert len(found.points) == 1
    torch.testing.assert_close(torch.tanh(found.points @ pull.T + 0.1), found.points)


DEGENERATE = {
    "cubic": lambda h: h - h**3,
    "pitchfork": torch.tanh,
    "repelling": lambda h: h + h**3 * (h.abs() < 1),
    "double": lambda h: h + h.square() * (h.abs() < 1),
    "fifth": lambda h: h - h**5,
    "one of two directions": lambda h: torch.cat([h[:, :1] - h[:, :1] ** 3, h[:, 1:] / 2], -1),
    "sine": torch.sin,
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_point_where_newton_is_slow_is_listed_once(name, dtype):
    size = 2 if name == "one of two directions" else 1
    step = as_step(lambda x_t, h: DEGENERATE[name](h), state=torch.zeros(1, size).to(dtype))
    starts = 0.5 * torch.randn(100, size, dtype=dtype)
    found = fixed_points(step, starts=starts, steps=20)
    near = found.points.norm(dim=-1) < 0.3
    assert near.sum() == 1, found.points
    assert found.arrivals[near] > 50


@pytest.mark.parametrize("distance", [0.01, 0.03, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_that_are_near_each_other_stay_apart(distance, dtype):
    """As long as what is between them is faster than the tolerance, which in single precision takes a steep map."""
    steep = 1.0 if dtype == torch.float64 else 0.5 / distance**2

    def function(x_t, h):
        return h - steep * h * (h - distance) * (h + distance)

    starts = torch.linspace(-1.5 * distance, 1.5 * distance, 50, dtype=dtype)[:, None]
    found = fixed_points(as_step(function, state=torch.zeros(1, 1, dtype=dtype)), starts=starts, steps=10)
    expected = torch.tensor([[-distance], [0.0], [distance]], dtype=dtype)
    torch.testing.assert_close(found.points.sort(0)[0], expected, atol=1e-3 * distance, rtol=1e-3)


@pytest.mark.parametrize("layer", ["gru", "lstm", "elman", "cfc", "ltc"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_search_needs_few_jacobians(layer, dtype, monkeypatch):
    """What it costs: single precision, where rounding keeps a row from coming nearer, no more than twice as many."""
    counted = []
    jacobian = Step.jacobian
    monkeypatch.setattr(Step, "jacobian", lambda self, x, h: counted.append(len(h)) or jacobian(self, x, h))
    memory = create(layer, input_size=3, hidden_size=16).to(dtype)
    found = fixed_points(memory, starts=64, steps=200)
    assert len(found.points) == 1
    assert found.lost == 0
    assert sum(counted) < 5 * 64
