"""Graphs that are known by name."""

from collections.abc import Sequence

import numpy as np

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.extras import require_extra
from remanence.wiring.graph import Wiring


def empty(neurons: int) -> Wiring:
    """Create neurons (or flip-flops) without synapses.

    Args:
        neurons: number of neurons.

    Returns:
        The wiring.

    Raises:
        ValueError: the number is not a positive integer.

    Example:
        >>> len(empty(3).edges)
        0
    """
    return Wiring(np.zeros((positive_integer("neurons", neurons),) * 2, dtype=np.int8))


def dense(neurons: int, *, self_edges: bool = False, inhibitory: float = 0.0, seed: int = 0) -> Wiring:
    """Connect every neuron to every other neuron.

    Args:
        neurons: number of neurons.
        self_edges: whether each neuron has a synapse to itself, too; default: False.
        inhibitory: the fraction of synapses that are inhibitory; default: 0.
        seed: seed of the signs; default: 0.

    Returns:
        The wiring.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> dense(3).adjacency.tolist()
        [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    """
    everything = np.ones((positive_integer("neurons", neurons),) * 2, dtype=bool)
    return _wire(everything, self_edges, inhibitory, seed)


def lattice(
    shape: Sequence[int], *, periodic: bool = False, radius: int = 1, inhibitory: float = 0.0, seed: int = 0
) -> Wiring:
    """Create a lattice of any dimension: each neuron receives from those at most ``radius`` steps away.

    Args:
        shape: its sides; the neurons are numbered in C order, the last side fastest.
        periodic: whether opposite borders touch (a ring, a torus).
        radius: steps along the axes, |Δ_1| + |Δ_2| + ..., that a synapse spans at most.
        inhibitory: share of the synapses that inhibit.
        seed: the seed of the draw of signs.

    Returns:
        The wiring.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> lattice((3, 3))
        Wiring(neurons=9, edges=24 of which 0 inhibit)
        >>> lattice((4, 4, 4), periodic=True).adjacency.sum(1).max()
        np.int64(6)
    """
    if not shape:
        raise UserError("shape must name at least one side, such as (8, 8), got ()")
    sides = tuple(positive_integer("every side of shape", side) for side in shape)
    positive_integer("radius", radius)
    neurons = int(np.prod(sides))
    distance = np.zeros((neurons, neurons), dtype=np.int64)
    for side, place in zip(sides, np.unravel_index(np.arange(neurons), sides), strict=True):
        steps = np.abs(place[:, None] - place)
        distance += np.minimum(steps, side - steps) if periodic else steps
    return _wire(distance <= radius, False, inhibitory, seed, sides)


def random(neurons: int, density: float, seed: int = 0, *, self_edges: bool = False, inhibitory: float = 0.0) -> Wiring:
    """Create each possible synapse independently with the same probability (Erdős and Rényi 1959; Gilbert 1959).

    Args:
        neurons: number of neurons.
        density: the probability, from 0 to 1.
        seed: seed of the synapses and signs; default: 0.
        self_edges: whether a neuron may have a synapse to itself; default: False.
        inhibitory: the fraction of synapses that are inhibitory; default: 0.

    Returns:
        The wiring.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> wiring = random(100, 0.1)
        >>> 800 < len(wiring.edges) < 1200
        True
    """
    if not 0 <= density <= 1:
        raise UserError(f"density must be a probability between 0 and 1, got {density}")
    chances = np.random.default_rng(seed).random((positive_integer("neurons", neurons),) * 2)
    return _wire(chances < density, self_edges, inhibitory, seed)


def small_world(
    neurons: int, *, neighbours: int = 4, rewired: float = 0.1, inhibitory: float = 0.0, seed: int = 0
) -> Wiring:
    """Create a ring of which some synapses are rewired: clustered, yet with short paths.

    Connections go both ways. The graph is ``networkx.watts_strogatz_graph``.

    Args:
        neurons: number of neurons.
        neighbours: the number k of nearest neighbours in the ring that each neuron is initially connected to; an odd
            number counts as one less; default: 4.
        rewired: the probability p that a connection is moved to a random neuron; default: 0.1.
        inhibitory: the fraction of synapses that are inhibitory; default: 0.
        seed: seed of the synapses and signs; default: 0.

    Returns:
        The wiring.

    Raises:
        ValueError: an argument is out of range.

    References:
        Watts and Strogatz 1998, Collective dynamics of "small-world" networks.

    Example:
        >>> len(small_world(20, neighbours=4).edges)  # 20 · 4 / 2 connections, both ways
        80
    """
    with require_extra("analysis", "a small world"):
        import networkx

    if positive_integer("neighbours", neighbours) > positive_integer("neurons", neurons):
        raise UserError(f"neighbours must be at most the {neurons} neurons, got {neighbours}")
    if not 0 <= rewired <= 1:
        raise UserError(f"rewired must be a probability between 0 and 1, got {rewired}")
    graph = networkx.watts_strogatz_graph(neurons, neighbours, rewired, seed=seed)
    return Wiring.of(graph).with_signs(inhibitory, seed)


def _wire(synapses: np.ndarray, self_edges: bool, inhibitory: float, seed: int, shape: tuple[int, ...] = ()) -> Wiring:
    if not self_edges:
        np.fill_diagonal(synapses, False)
    return Wiring(synapses.astype(np.int8), shape=shape).with_signs(inhibitory, seed)
