"""The order of firing: its names, its feedback, and what may fire together."""

import numpy as np
import pytest

from remanence import wiring


def feedback(graph, order):
    """How many edges lead to a neuron that fired before its sender."""
    rank = np.argsort(order)
    receiver, sender = graph.edges.T
    return int((rank[sender] > rank[receiver]).sum())


def test_names_and_lists():
    graph = wiring.random(20, 0.2)
    assert (wiring.firing_order(graph) == np.arange(20)).all()
    assert (wiring.firing_order(graph, list(range(19, -1, -1))) == np.arange(20)[::-1]).all()
    shuffled = wiring.firing_order(graph, "random", seed=1)
    assert (np.sort(shuffled) == np.arange(20)).all()
    assert not np.array_equal(shuffled, wiring.firing_order(graph, "random", seed=2))


@pytest.mark.unchecked
@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 3], "alphabetical"])
def test_wrong_orders_are_refused(order):
    with pytest.raises(ValueError, match="order must"):
        wiring.firing_order(wiring.dense(3), order)


@pytest.mark.parametrize("seed", range(5))
def test_topology_has_no_feedback_without_cycles(seed):
    rng = np.random.default_rng(seed)
    shuffle = rng.permutation(30)
    graph = wiring.Wiring.of(np.tril(rng.random((30, 30)) < 0.2, -1)[shuffle][:, shuffle].astype(int))
    assert feedback(graph, wiring.firing_order(graph, "topology")) == 0


def test_topology_keeps_the_bound_of_its_authors():
    for seed in range(5):
        graph = wiring.random(60, 0.1, seed=seed)
        found = feedback(graph, wiring.firing_order(graph, "topology"))
        assert found <= len(graph.edges) / 2 - 60 / 6
        assert found < 0.8 * feedback(graph, wiring.firing_order(graph, "random"))


@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 1.0])
def test_levels_are_independent_inside_and_keep_the_order_between(density):
    graph = wiring.random(40, density, seed=3)
    order = wiring.firing_order(graph, "random")
    found = wiring.levels(graph, order)
    assert (np.sort(np.concatenate(found)) == np.arange(40)).all()
    rank, level = np.argsort(order), np.empty(40, dtype=int)
    for number, neurons in enumerate(found):
        level[neurons] = number
        assert not graph.adjacency[np.ix_(neurons.tolist(), neurons.tolist())].any()
    for a, b in graph.edges:
        assert (rank[a] < rank[b]) == (level[a] < level[b])
    assert len(found) == (1 if density == 0 else 40 if density == 1 else len(found))
