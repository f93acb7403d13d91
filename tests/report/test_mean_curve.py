import numpy as np
import pytest

from remanence.report import load
from remanence.report.mean_curve import GRID, compute_mean_curve


def test_mean_and_spread_by_hand(make_run):
    """A seed that stopped early counts with its last value: (0.1 + 0.3) / 2 at step 300."""
    make_run("a", curve=[(100, 1.0, 0.9), (200, 2.0, 0.5), (300, 3.0, 0.1)])
    runs = load([make_run("b", seed=1, curve=[(100, 1.0, 0.7), (200, 4.0, 0.3)]).parent])
    curve = compute_mean_curve(runs, "step")
    assert curve is not None
    assert curve.spread is not None
    np.testing.assert_array_equal(curve.x, [100, 200, 300])
    np.testing.assert_allclose(curve.mean, [0.8, 0.4, 0.2])
    np.testing.assert_allclose(curve.spread, np.array([0.2, 0.2, 0.2]) / np.sqrt(2))
    assert curve.ends == [(300, 0.1), (200, 0.3)]
    # Against seconds each seed is read between its own points: at 2 s the second is a third of its way down.
    seconds = compute_mean_curve(runs, "seconds")
    assert seconds is not None
    np.testing.assert_array_equal(seconds.x, [1, 2, 3, 4])
    np.testing.assert_allclose(seconds.mean[1], (0.5 + 0.7 - 0.4 / 3) / 2)


def test_it_begins_where_every_seed_has_a_value(make_run):
    make_run("a", curve=[(100, 1.0, 0.9), (200, 2.0, 0.5)])
    runs = load([make_run("b", seed=1, curve=[(150, 1.0, 0.7), (250, 2.0, 0.3)]).parent])
    curve = compute_mean_curve(runs, "step")
    assert curve is not None
    assert curve.x[0] == 150


def test_one_seed_has_no_spread_and_none_has_no_curve(make_run):
    curve = compute_mean_curve(load([make_run("a")]), "step")
    assert curve is not None
    assert curve.spread is None
    assert compute_mean_curve(load([make_run("b", curve=())]), "step") is None


def test_long_curves_are_thinned_but_keep_their_ends(make_run):
    folder = make_run("a", curve=[(step, step / 10, 1 / step) for step in range(1, 1001)])
    curve = compute_mean_curve(load([folder]), "step")
    assert curve is not None
    assert len(curve.x) == GRID
    assert (curve.x[0], curve.x[-1]) == (1, 1000)
    assert curve.mean[-1] == pytest.approx(0.001)
