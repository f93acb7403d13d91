"""Wirings: their own rules, and the way to SciPy, networkx, modules and pictures, and back."""

import subprocess
import sys

import networkx
import numpy as np
import pytest
import scipy.sparse
import torch

from remanence import wiring
from remanence.nn.structure import Structured
from remanence.wiring import Wiring

MATRIX = [[0, 1, 0], [0, 0, -1], [1, 0, -1]]  # 1 -> 0, 2 -| 1, 0 -> 2, 2 -| 2


def test_rows_receive_and_edges_are_sorted_by_receiver():
    graph = Wiring.of(MATRIX)
    assert graph.edges.tolist() == [[0, 1], [1, 2], [2, 0], [2, 2]]
    assert graph.signs.tolist() == [1, -1, 1, -1]
    assert (graph.neurons, graph.outputs.tolist()) == (3, [0, 1, 2])
    assert repr(graph) == "Wiring(neurons=3, edges=4 of which 2 inhibit)"
    with pytest.raises(ValueError, match="read-only"):
        graph.adjacency[0, 0] = 1


@pytest.mark.parametrize(
    "make",
    [
        np.array,
        lambda m: np.array(m, dtype=np.float64),
        torch.tensor,
        lambda m: scipy.sparse.csr_matrix(m),
        lambda m: scipy.sparse.coo_array(np.array(m)),
    ],
)
def test_any_matrix_makes_the_same_wiring(make):
    assert Wiring.of(make(MATRIX)) == Wiring.of(MATRIX)


def test_networkx_there_and_back():
    graph = Wiring.of(MATRIX).to_networkx()
    assert set(graph.edges) == {(1, 0), (2, 1), (0, 2), (2, 2)}
    assert graph.edges[2, 1]["sign"] == -1
    assert Wiring.of(graph) == Wiring.of(MATRIX)
    signed = networkx.DiGraph([("a", "b", {"sign": -1})])
    assert Wiring.of(signed).adjacency.tolist() == [[0, 0], [-1, 0]]
    assert Wiring.of(networkx.path_graph(3)).adjacency.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def whole():
    return wiring.ncp(5, 6, 4, 2, sensory_fanout=3, inter_fanout=2, command_synapses=3, motor_fanin=2)


@pytest.mark.parametrize("graph", [Wiring.of(MATRIX), wiring.lattice((2, 3), inhibitory=0.5), whole()])
def test_a_module_carries_it(graph, tmp_path):
    module, other = Structured(), Structured()
    module.fix_wiring(graph)
    torch.save(module.state_dict(), tmp_path / "module.pt")
    other.fix_wiring(Wiring(np.abs(graph.adjacency), graph.sensory, graph.layer, graph.shape), follows=True)
    assert other.wiring != graph
    other.load_state_dict(torch.load(tmp_path / "module.pt"))
    assert other.double().wiring == graph
    with pytest.raises(AttributeError, match="wiring"):
        _ = Structured().wiring


def test_signs_are_exact_in_number_and_drawn_by_seed():
    graph = wiring.dense(10)
    some = graph.with_signs(0.3, seed=1)
    assert (some.adjacency == -1).sum() == 27
    assert (np.abs(some.adjacency) == graph.adjacency).all()
    assert some == graph.with_signs(0.3, seed=1)
    assert some != graph.with_signs(0.3, seed=2)
    assert some.with_signs(0.0) == graph
    assert (graph.with_signs(1.0).signs == -1).all()


@pytest.mark.unchecked
def test_what_is_no_wiring_is_refused():
    with pytest.raises(ValueError, match=r"square matrix.*got 2 x 3"):
        Wiring.of(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"square matrix.*got shape \[3\]"):
        Wiring.of([1, 0, 1])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="square"):
        Wiring.of(np.zeros((0, 0)))
    with pytest.raises(ValueError, match=r"only 1 \(excites\).*got 0.5"):
        Wiring.of([[0, 0.5], [0, 0]])
    with pytest.raises(ValueError, match=r"networkx graph may hold only.*got 2"):
        Wiring.of(networkx.DiGraph([(0, 1, {"sign": 2})]))
    with pytest.raises(ValueError, match="multigraph"):
        Wiring.of(networkx.MultiDiGraph([(0, 1), (0, 1)]))
    with pytest.raises(ValueError, match=r"of float64: Wiring.of"):
        Wiring(np.eye(2))
    small = np.eye(2, dtype=np.int8)
    with pytest.raises(ValueError, match=r"sensory.*2 neurons.*got \[3, 3\]"):
        Wiring(small, sensory=np.eye(3, dtype=np.int8))
    with pytest.raises(ValueError, match=r"layer.*2 neurons, got \[3\]"):
        Wiring(small, layer=np.zeros(3, dtype=np.int8))
    with pytest.raises(ValueError, match=r"hold the 2 neurons, got \(3, 1\)"):
        Wiring(small, shape=(3, 1))
    with pytest.raises(ValueError, match="inhibitory must be a fraction between 0 and 1, got 2"):
        Wiring(small).with_signs(2)


def pixels(axes):
    figure = axes.figure
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].reshape(-1, 3)


@pytest.fixture
def pyplot():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize(
    "graph",
    [Wiring.of(MATRIX), wiring.lattice((2, 3, 2), inhibitory=0.5), wiring.small_world(9, inhibitory=0.5), whole()],
)
def test_the_picture_shows_neurons_and_both_signs(graph, pyplot):
    drawn = pixels(graph.plot()).astype(int)

    def count(colour):
        return (np.abs(drawn - colour).max(1) < 60).sum()

    black, blue, orange, green = (0x40, 0x40, 0x40), (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)
    assert min(count(black), count(blue), count(orange)) > 100
    assert (count(green) > 100) == (graph.sensory is not None)
    _, axes = pyplot.subplots()
    assert Wiring.of([[0]]).plot(axes) is axes
    assert (pixels(axes) != 255).any()


def test_places_keep_neurons_apart_and_lattices_in_shape(pyplot):
    from remanence.wiring.picture import place_neurons

    for graph in (wiring.lattice((4, 5)), wiring.lattice((3, 4, 5)), wiring.empty(40), whole()):
        points = np.concatenate(place_neurons(graph))
        distance = np.linalg.norm(points[:, None] - points, axis=-1) + 9 * np.eye(len(points))
        assert distance.min() > 0.3
    grid, _ = place_neurons(wiring.lattice((4, 5)))
    for receiver, sender in wiring.lattice((4, 5)).edges:
        assert np.linalg.norm(grid[receiver] - grid[sender]) == pytest.approx(1)


def test_importing_it_is_light():
    program = "import sys, torch; before = set(sys.modules); import remanence.wiring; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not {"matplotlib", "networkx", "scipy", "numba"} & {name.partition(".")[0] for name in loaded.split()}
