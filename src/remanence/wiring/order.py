"""The order in which neurons fire, one after the other, and which of them may fire together."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int64

from remanence.errors import UserError
from remanence.wiring.graph import Wiring

Neurons: TypeAlias = Sequence[int] | Int64[np.ndarray, " chosen"]
OrderName: TypeAlias = Literal["index", "random", "topology"]


def firing_order(wiring: Wiring, order: OrderName | Neurons = "index", seed: int = 0) -> Int64[np.ndarray, " neurons"]:
    """Determine which neuron fires first, second, and so on.

    Args:
        wiring: the connections.
        order: ``"index"``, neuron 0 first; ``"random"``; ``"topology"``, so that few edges lead back to a neuron that
            fired before (none if the graph has no cycle), by the greedy rule of Eades, Lin and Smyth; or the neurons
            themselves, each once.
        seed: the seed of the random order.

    Returns:
        The neurons, the one that fires first at the front.

    Raises:
        ValueError: an unknown name, or neurons that are not all there once.

    References:
        Eades, Lin, Smyth 1993, A fast and effective heuristic for the feedback arc set problem.

    Example:
        >>> firing_order(Wiring.of([[0, 0, 1], [1, 0, 0], [0, 0, 0]]), "topology")  # 2 -> 0 -> 1
        array([2, 0, 1])
    """
    if isinstance(order, str):
        if order == "index":
            return np.arange(wiring.neurons)
        if order == "random":
            return np.random.default_rng(seed).permutation(wiring.neurons)
        if order == "topology":
            return _sort_topologically(wiring.adjacency != 0)
        raise UserError(f"order must be 'index', 'random', 'topology' or a list of all neurons, got {order!r}")
    given = np.asarray(order)
    if not np.array_equal(np.sort(given), np.arange(wiring.neurons)):
        raise UserError(f"order must name each of the neurons 0 to {wiring.neurons - 1} once, got {given.tolist()}")
    return given.astype(np.int64)


def levels(wiring: Wiring, order: Int64[np.ndarray, " neurons"]) -> list[Int64[np.ndarray, " level"]]:
    """Group neurons into levels, first level first: no neuron of a level feeds another one of it.

    Fired level by level the neurons get the same values as one by one, in the smallest number of levels.

    Args:
        wiring: the connections.
        order: the order of firing.

    Returns:
        The neurons of each level.

    Example:
        >>> levels(Wiring.of([[0, 0, 0], [0, 0, 0], [1, 1, 0]]), np.arange(3))  # 0 and 1 feed 2
        [array([0, 1]), array([2])]
    """
    joined = (wiring.adjacency != 0) | (wiring.adjacency != 0).T
    level = np.full(wiring.neurons, -1)  # -1: has not fired yet
    for neuron in order:
        level[neuron] = 1 + level[joined[neuron]].max(initial=-1)
    by_order = level[order]
    return [order[by_order == number] for number in range(by_order.max() + 1)]


def _sort_topologically(receives: np.ndarray) -> np.ndarray:
    """Move sinks to the end and sources to the start; else take the neuron that sends most and receives least."""
    receives = receives & ~np.eye(len(receives), dtype=bool)
    senders, receivers = receives.sum(1), receives.sum(0)
    left = np.ones(len(receives), dtype=bool)
    first: list[int] = []
    last: list[int] = []
    while left.any():
        if (sinks := left & (receivers == 0)).any():
            neuron, place = int(sinks.nonzero()[0][-1]), last
        elif (sources := left & (senders == 0)).any():
            neuron, place = int(sources.nonzero()[0][0]), first
        else:
            neuron, place = int(np.where(left, receivers - senders, -len(receives)).argmax()), first
        place.append(neuron)
        left[neuron] = False
        senders, receivers = senders - receives[:, neuron], receivers - receives[neuron]
    return np.array(first + last[::-1])
