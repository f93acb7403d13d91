import math

import numpy as np
import pytest
import torch
from scipy.optimize import root_scalar

from remanence.analysis import as_step, basins, bifurcation
from remanence.nn import CFF

REGION = ((-0.6, 1.2), (-0.6, 1.2))
LEAK, POTENTIAL, SLOPE, THRESHOLD, OWN = 1.0, 1.0, 7.4, 0.1, 0.2


def symmetric(mutual, capacitance=2.0):
    """A pair whose neurons are the same, with a closed gate."""
    pair = CFF(1, 1).double()
    with torch.no_grad():
        for name, value in {
            "log_capacitance": math.log(capacitance), "log_leak": math.log(LEAK), "leak_potential": POTENTIAL,
            "bias": -40.0, "log_conductance_mutual": math.log(mutual), "log_conductance_self": math.log(OWN),
            "log_slope_mutual": math.log(SLOPE), "log_slope_self": math.log(SLOPE), "threshold_mutual": THRESHOLD,
            "threshold_self": THRESHOLD, "log_potential_mutual": 0.0, "log_potential_self": 0.0,
        }.items():  # fmt: skip
            getattr(pair, name).fill_(value)
    return pair


def critical():
    """The cross-inhibition at which the symmetric state loses its stability, from the equation by hand."""

    def gate(v):
        return 1 / (1 + math.exp(-SLOPE * (v - THRESHOLD)))

    def state(mutual):
        balance = root_scalar(lambda v: LEAK * (POTENTIAL - v) - (mutual + OWN) * gate(v) * (1 + v), bracket=(-1, 1))
        return balance.root

    def growth(mutual):
        """dv/dt by v less by u: how fast a difference of the two grows."""
        v = state(mutual)
        slope, conductance = SLOPE * gate(v) * (1 - gate(v)) * (1 + v), LEAK + (mutual + OWN) * gate(v)
        return -conductance + (mutual - OWN) * slope

    return root_scalar(growth, bracket=(0.01, 5)).root


@pytest.mark.slow
def test_the_flip_flop_holds_two_states_and_a_saddle_between():
    found = basins(symmetric(2.0), REGION, resolution=40)
    kinds = [each.kind for each in found.points.verdicts]
    assert sorted(kinds) == ["asymptotically stable", "asymptotically stable", "saddle"]
    assert all(each.confirmed for each in found.points.verdicts)
    (q, r), (q2, r2) = found.points.attractors
    torch.testing.assert_close(torch.stack([q, r]), torch.stack([r2, q2]))
    # Of equal neurons the separatrix is the diagonal, and the saddle is on it.
    assert (found.separatrix[:, 0] - found.separatrix[:, 1]).abs().max() < 1e-6
    (saddle,) = found.points.of_kind("saddle")
    assert abs(saddle[0] - saddle[1]) < 1e-8
    higher = torch.tensor([bool(a > b) for a, b in found.points.attractors])
    first, second = np.meshgrid(range(40), range(40))
    of_q = torch.from_numpy(first > second)
    off = torch.from_numpy(first != second)
    assert torch.equal(higher[found.labels[off]], of_q[off])
    assert (found.shares - 0.5).abs().max() < 0.02


@pytest.mark.slow
def test_the_state_splits_where_the_equation_says():
    value = critical()
    found = bifurcation(symmetric, [0.6 * value, 0.98 * value, 1.02 * value, 1.5 * value], starts=24)
    assert found.changes == [(0.98 * value, 1.02 * value)]
    assert [len(branch.points) for branch in found.branches] == [1, 1, 3, 3]


def test_of_unequal_neurons_the_saddle_is_on_the_separatrix():
    pair = symmetric(2.0)
    with torch.no_grad():
        pair.leak_potential[0] += 0.1
    found = basins(pair, REGION, resolution=40)
    (saddle,) = found.points.of_kind("saddle")
    nearest = (found.separatrix - saddle).norm(dim=-1).min()
    assert nearest < 0.05
    # The separatrix is invariant: a step leads from it to it.
    step = as_step(pair)
    with torch.no_grad():
        moved = step(torch.zeros(len(found.separatrix), 1).double(), found.separatrix)
    distances = torch.cdist(moved, found.separatrix).min(1).values
    assert distances.max() < 0.04
    assert found.shares[0] != found.shares[1]


def test_states_that_never_arrive_have_no_label():
    def wells(x_t, h):
        return torch.where(h.abs().amax(-1, keepdim=True) < 1, 0.5 * h, 2 * h)

    step = as_step(wells, state=torch.zeros(1, 2).double())
    found = basins(step, ((-2.0, 2.0), (-2.0, 2.0)), resolution=20, steps=50)
    assert found.shares.tolist() == [0.25]
    assert (found.labels == -1).double().mean() == 0.75


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match="two state variables"):
        basins(torch.nn.GRU(2, 3), REGION)
    step = as_step(lambda x_t, h: 2 * h, state=torch.zeros(1, 2).double())
    with pytest.raises(ValueError, match="no attractor"):
        basins(step, REGION, resolution=10)


@pytest.mark.slow
def test_pictures():
    found = basins(symmetric(2.0), REGION, resolution=10)
    assert len(found.plot().images) == 1
    assert len(bifurcation(symmetric, [0.3, 2.0], starts=16).plot(component=1).collections) == 2
