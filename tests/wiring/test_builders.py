"""Builders against networkx and against counts."""

import networkx
import numpy as np
import pytest

from remanence import wiring


def test_empty_and_dense():
    assert not wiring.empty(5).adjacency.any()
    assert (wiring.dense(5).adjacency == 1 - np.eye(5)).all()
    assert (wiring.dense(5, self_edges=True).adjacency == 1).all()


def test_the_old_name_is_accepted_with_a_warning():
    with pytest.warns(FutureWarning, match=r"wiring\.isolated is now called wiring\.empty"):
        old = wiring.isolated  # pyright: ignore[reportAttributeAccessIssue]
    assert old is wiring.empty
    with pytest.raises(AttributeError, match="no attribute 'isolate'"):
        wiring.isolate  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("shape", [(7,), (1,), (4, 5), (3, 4, 5), (3, 1, 4, 3)])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("radius", [1, 2, 3])
def test_lattices_equal_the_grids_of_networkx(shape, periodic, radius):
    # networkx names the sides from the last to the first
    grid = networkx.grid_graph([range(side) for side in reversed(shape)], periodic=periodic)
    reach = networkx.Graph()
    reach.add_nodes_from(sorted(node if isinstance(node, tuple) else (node,) for node in grid.nodes))
    for node, distances in networkx.all_pairs_shortest_path_length(grid, cutoff=radius):
        for other, distance in distances.items():
            if distance:
                reach.add_edge(*(n if isinstance(n, tuple) else (n,) for n in (node, other)))
    built = wiring.lattice(shape, periodic=periodic, radius=radius)
    assert (built.adjacency == networkx.to_numpy_array(reach)).all()
    assert built.shape == shape


@pytest.mark.parametrize("density", [0.0, 0.1, 0.7, 1.0])
def test_random_density_is_binomial(density):
    graph, possible = wiring.random(100, density, seed=3), 100 * 99
    deviation = np.sqrt(possible * density * (1 - density))
    assert abs(len(graph.edges) - possible * density) <= 4 * deviation
    assert not np.diag(graph.adjacency).any()
    assert graph == wiring.random(100, density, seed=3)
    if 0 < density < 1:
        assert graph != wiring.random(100, density, seed=4)
        assert np.diag(wiring.random(100, density, self_edges=True).adjacency).any()
        rows, columns = graph.adjacency.sum(0), graph.adjacency.sum(1)
        assert rows.var() / rows.mean() == pytest.approx(1 - density, rel=0.6)
        assert columns.var() / columns.mean() == pytest.approx(1 - density, rel=0.6)


def test_small_world_is_that_of_networkx():
    graph = wiring.small_world(40, neighbours=6, rewired=0.2, seed=5)
    expected = networkx.watts_strogatz_graph(40, 6, 0.2, seed=5)
    assert (graph.adjacency == networkx.to_numpy_array(expected, nodelist=range(40))).all()
    ring = wiring.small_world(40, neighbours=6, rewired=0.0)
    assert ring.adjacency.tolist() == wiring.lattice((40,), periodic=True, radius=3).adjacency.tolist()
    undirected = graph.to_networkx().to_undirected()
    assert networkx.average_shortest_path_length(undirected) < 0.85 * networkx.average_shortest_path_length(
        ring.to_networkx().to_undirected()
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda **options: wiring.dense(12, **options),
        lambda **options: wiring.lattice((3, 4), **options),
        lambda **options: wiring.random(12, 0.5, **options),
        lambda **options: wiring.small_world(12, **options),
    ],
)
def test_every_builder_draws_signs(build):
    graph = build(inhibitory=0.25, seed=1)
    assert (graph.signs < 0).sum() == round(0.25 * len(graph.edges)) > 0
    assert graph == build(inhibitory=0.25, seed=1)
    assert (build().signs == 1).all()


@pytest.mark.unchecked
def test_arguments_out_of_range():
    for call, message in (
        (lambda: wiring.empty(0), "neurons must be a positive integer, got 0"),
        (lambda: wiring.dense(2.5), "neurons must be a positive integer, got 2.5"),  # pyright: ignore[reportArgumentType]
        (lambda: wiring.dense(3, inhibitory=-0.1), "inhibitory must be a fraction"),
        (lambda: wiring.lattice(()), "at least one side"),
        (lambda: wiring.lattice((3, -1)), "every side of shape must be a positive integer, got -1"),
        (lambda: wiring.lattice((3, 3), radius=0), "radius must be"),
        (lambda: wiring.random(5, 1.5), "density must be a probability between 0 and 1, got 1.5"),
        (lambda: wiring.small_world(5, neighbours=6), "at most the 5 neurons, got 6"),
        (lambda: wiring.small_world(5, rewired=2), "rewired must be a probability"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
