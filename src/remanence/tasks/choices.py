"""Drawing without replacement, and in order."""

import numpy as np
from jaxtyping import Float, Integer


def draw_distinct(numbers: Float[np.ndarray, "rows drawn"], among: int) -> Integer[np.ndarray, "rows drawn"]:
    """Draw distinct numbers of 0 ... ``among`` - 1 in random order, decided by numbers from [0, 1).

    References:
        The shuffle of Fisher & Yates (Knuth, "The art of computer programming", volume 2, algorithm 3.4.2P), cut short.
    """
    rows = np.arange(len(numbers))
    order = np.tile(np.arange(among, dtype=np.int32), (len(numbers), 1))
    for place in range(numbers.shape[1]):
        chosen = place + (numbers[:, place] * (among - place)).astype(np.int64)
        order[rows, place], order[rows, chosen] = order[rows, chosen], order[rows, place]
    return order[:, : numbers.shape[1]]


def draw_weighted(
    numbers: Float[np.ndarray, "rows items"], weights: Float[np.ndarray, " items"], count: int
) -> np.ndarray:
    """Draw distinct items [rows, ``count``], each by the weights of those that are left.

    References:
        Efraimidis & Spirakis, "Weighted random sampling with a reservoir", 2006.
    """
    arrivals = -np.log1p(-numbers) / weights  # of independent Poisson processes: the first are the draws
    return arrivals.argsort(axis=1)[:, :count]


def draw_places(numbers: Float[np.ndarray, "rows places"], count: int) -> Integer[np.ndarray, "rows drawn"]:
    """Draw ``count`` of the places in increasing order: those with the smallest numbers, so that all are as likely."""
    return np.sort(np.argpartition(numbers, count - 1, axis=1)[:, :count], axis=1)
