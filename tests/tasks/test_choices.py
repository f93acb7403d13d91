from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from remanence.tasks.choices import draw_distinct, draw_weighted

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("drawn", "among"), [(4, 4), (2, 4), (3, 5), (1, 6)])
def test_every_order_is_as_likely(drawn, among):
    chosen = [tuple(row) for row in draw_distinct(RNG.random((20_000, drawn)), among).tolist()]
    orders = list(permutations(range(among), drawn))
    assert set(chosen) <= set(orders)
    assert stats.chisquare([chosen.count(order) for order in orders]).pvalue > 1e-3


@pytest.mark.parametrize("power", [0.01, 1.0])
def test_weighted_draws_are_those_of_numpy(power):
    weights = np.arange(1.0, 8) ** (power - 1)
    ours = draw_weighted(RNG.random((6000, 7)), weights, 3)
    p = weights / weights.sum()
    theirs = np.array([RNG.choice(7, 3, replace=False, p=p) for _ in range(6000)])
    assert all(len(set(row)) == 3 for row in ours.tolist())
    for place in range(3):
        counts = [np.bincount(draws[:, place], minlength=7) for draws in (ours, theirs)]
        test: Any = stats.chi2_contingency(counts)
        assert test.pvalue > 1e-3
