"""A figure from several seeds never claims what no seed can have."""

import math
import re
from statistics import fmean, median, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanence.report.estimate import Estimate, format_estimate

values = st.lists(st.floats(0, 1).map(lambda value: round(value, 6)), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ((0.0315, 0.0327, 0.563), "3.27 (3.15 to 56.3)"),  # one never started
        ((0.9, 0.95, 0.1), "90.0 (10.0 to 95.0)"),  # one found the way: 65 ± 48 would reach beyond 100
        ((0.031, 0.033), "3.20 ± 0.14"),
        ((0.0, 0.001, 0.0), "0 (0 to 0.100)"),
    ],
)
def test_seeds_that_went_different_ways(seeds, text):
    assert format_estimate(Estimate.of(seeds, 1.0), "error rate") == text


@given(values)
def test_no_interval_reaches_beyond_what_is_possible(seeds):
    estimate = Estimate.of(seeds, 1.0)
    assert estimate is not None
    assert estimate.ends is not None
    low, high = estimate.ends
    assert -1e-12 <= low <= estimate.centre + 1e-12
    assert estimate.centre - 1e-12 <= high <= 1 + 1e-12
    text = format_estimate(estimate, "error rate")
    if "±" in text:
        mean, spread = map(float, text.split(" ± "))
        place = 10.0 ** -len(text.split(" ± ")[0].partition(".")[2])
        assert mean - spread >= -1.01 * place
        assert mean + spread <= 100 + 1.01 * place
    else:
        assert len(re.findall(r"[\d.]+(?:e-\d+)?", text)) in (1, 3)


@given(values)
def test_what_is_told_are_the_values(seeds):
    estimate = Estimate.of(seeds)
    assert estimate is not None
    spread = stdev(seeds) if len(seeds) > 1 else None
    assert estimate.mean == pytest.approx(fmean(seeds))
    assert estimate.spread == spread
    assert estimate.disagrees == (spread is not None and fmean(seeds) - spread < 0)
    assert estimate.centre == pytest.approx(median(seeds) if estimate.disagrees else fmean(seeds))
    assert estimate.count_solved(0.9) == sum(value <= 0.09 for value in seeds)


def test_a_metric_below_0_may_have_any_spread():
    assert format_estimate(Estimate.of([-1.0, 2.0]), "nats") == "0.500 ± 2.121"
    assert Estimate.of([]) is None
    assert format_estimate(None) == "–"
    assert format_estimate(Estimate.of([math.pi])) == "3.14"
