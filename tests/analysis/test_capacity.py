import math

import pytest
import torch
from scipy.special import erf

from remanence.analysis import CapacityCurve, capacity_curve
from remanence.nn import Hopfield, LinearAssociator, ModernHopfield

RATIOS = [0.05, 0.1, 0.2, 0.4]


def test_capacity_of_hebb_falls_near_0138():
    curve = capacity_curve(lambda: Hopfield(300), 300, RATIOS, trials=2)
    below, at, above, far = curve.overlaps.mean(1)
    assert below > 0.999
    assert at > 0.97
    assert above < 0.7
    assert far < 0.4
    assert 0.1 < curve.capacity() < 0.2


@pytest.mark.parametrize("distortion", [0.0, 0.1])
def test_one_update_makes_the_errors_that_the_crosstalk_says(distortion):
    """Crosstalk is normal with the variance q; a diagonal adds q times the cue itself."""
    d, signal = distortion, 1 - 2 * distortion
    options = {"distortion": d, "trials": 10}

    class Once(Hopfield):
        def forward(self, state):  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(state, update="synchronous", sweeps=1)

    hopfield = capacity_curve(lambda: Once(200), 200, RATIOS, **options)
    associator = capacity_curve(lambda: LinearAssociator(200), 200, RATIOS, **options)
    pairs = capacity_curve(lambda: LinearAssociator(200, 50), 200, RATIOS, values=50, **options)
    for index, q in enumerate(RATIOS):
        width = math.sqrt(2 * q)
        assert math.isclose(pairs.overlaps[index].mean(), erf(signal / width), abs_tol=0.02)
        assert math.isclose(hopfield.overlaps[index].mean(), erf(signal / width), abs_tol=0.02)
        right, wrong = erf((signal + q) / width), erf((signal - q) / width)
        assert math.isclose(associator.overlaps[index].mean(), (1 - d) * right + d * wrong, abs_tol=0.02)


def test_other_rules_hold_more():
    def held(rule, ratio):
        return capacity_curve(lambda: Hopfield(100, rule=rule), 100, [ratio], trials=2).overlaps.mean()

    assert held("hebb", 0.25) < 0.8
    assert held("storkey", 0.25) > 0.9
    assert held("pseudo_inverse", 0.9) == 1
    modern = capacity_curve(lambda: ModernHopfield(100, beta=1.0), 100, [10.0], distortion=0.1, trials=1)
    assert modern.overlaps.item() == 1
    assert math.isnan(modern.capacity())


def test_capacity_is_between_the_ratios():
    curve = CapacityCurve(torch.tensor([0.1, 0.2]), torch.tensor([[1.0], [0.5]]))
    assert math.isclose(curve.capacity(0.75), 0.15, rel_tol=1e-6)


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match="at least one pattern"):
        capacity_curve(lambda: Hopfield(10), 10, [0.01])
    with pytest.raises(ValueError, match="between 0 and 1"):
        capacity_curve(lambda: Hopfield(10), 10, [0.1], distortion=2)


def test_picture():
    assert capacity_curve(lambda: Hopfield(20), 20, [0.1, 0.5]).plot().get_ylabel() == "overlap"
