import math

import pytest

from studies.holding.exact import HELD, run_silent


@pytest.mark.parametrize("layer", ["persistent", "fastlane"])
def test_relu_holds_for_100_000_steps_to_the_last_bit(layer):
    found = run_silent("relu", layer)
    assert len(found.values) == 100_000
    assert found.change == 0


@pytest.mark.parametrize("layer", ["persistent", "fastlane"])
def test_tanh_forgets_as_its_cubic_term_says(layer):
    # n' = n - n³/3 + ...: dn/dt = -n³/3 gives n(t) = (2t/3 + 1/n(0)²)^(-1/2).
    found = run_silent("tanh", layer)
    assert float(found.values[-1]) == pytest.approx((2e5 / 3 + HELD**-2) ** -0.5, rel=1e-3)


def test_softplus_grows_as_its_equation_says():
    # n' = log(1 + e^n), so e^n' = e^n + 1: e^n grows by 1 in every step.
    found = run_silent("softplus", steps=1000)
    assert float(found.values[-1].exp()) == pytest.approx(1000 + math.exp(HELD), rel=1e-4)
