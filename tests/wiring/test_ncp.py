"""Neural circuit policies against the ncps package."""

import ncps.wirings
import numpy as np
import pytest

from remanence import wiring

SIZES = {
    "typical": (8, 12, 6, 3, 4, 3, 6, 3),
    "unreached": (2, 20, 9, 1, 2, 1, 1, 2),  # more neurons than synapses: the second round of connections
    "full": (3, 4, 3, 2, 4, 3, 9, 3),
}


def ours(sizes, seed=0, **options):
    inputs, inter, command, motor, sensory_fanout, inter_fanout, command_synapses, motor_fanin = sizes
    return wiring.ncp(
        inputs, inter, command, motor, sensory_fanout=sensory_fanout, inter_fanout=inter_fanout,
        command_synapses=command_synapses, motor_fanin=motor_fanin, seed=seed, **options,
    )  # fmt: skip


def theirs(sizes, seed):
    inputs, *rest = sizes
    graph = ncps.wirings.NCP(*rest, seed=seed)
    graph.build(inputs)
    assert graph.sensory_adjacency_matrix is not None
    return graph.adjacency_matrix.T, graph.sensory_adjacency_matrix.T  # ours: the row receives


def blocks(adjacency, sensory, sizes):
    """Who connects to whom, layer by layer."""
    _, inter, command, motor = sizes[:4]
    cuts = [slice(motor), slice(motor, motor + command), slice(motor + command, motor + command + inter)]
    names = ("motor", "command", "inter")
    named = {
        f"{sender} to {receiver}": adjacency[rows, columns] != 0
        for receiver, rows in zip(names, cuts, strict=True)
        for sender, columns in zip(names, cuts, strict=True)
    }
    return named | {f"sensory to {name}": sensory[rows] != 0 for name, rows in zip(names, cuts, strict=True)}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_layers_and_fans_are_those_of_ncps(sizes, seed):
    _, inter, command, motor, sensory_fanout, inter_fanout, command_synapses, motor_fanin = sizes
    graph = ours(sizes, seed)
    mine = blocks(graph.adjacency, graph.sensory, sizes)
    other = blocks(*theirs(sizes, seed), sizes)
    assert {name for name, block in mine.items() if block.any()} == {name for name, b in other.items() if b.any()}
    for kind in (mine, other):
        assert (kind["sensory to inter"].sum(0) >= sensory_fanout).all()
        assert (kind["inter to command"].sum(0) >= inter_fanout).all()
        assert (kind["command to motor"].sum(1) >= motor_fanin).all()
        for name, axis in (("sensory to inter", 1), ("inter to command", 1), ("command to motor", 0)):
            assert kind[name].any(axis).all()
        assert kind["command to command"].sum() <= command_synapses
    assert mine["command to command"].sum() == command_synapses  # ncps may draw one twice
    assert (graph.neurons, graph.outputs.tolist()) == (inter + command + motor, list(range(motor)))


def test_fans_are_exact_where_everybody_is_reached():
    sizes = (60, 12, 6, 24, 4, 3, 6, 3)  # so many synapses that nobody is left out
    graph = ours(sizes)
    mine, other = blocks(graph.adjacency, graph.sensory, sizes), blocks(*theirs(sizes, 0), sizes)
    for name, axis in (("sensory to inter", 0), ("inter to command", 0), ("command to motor", 1)):
        assert set(mine[name].sum(axis)) == set(other[name].sum(axis))
        assert len(set(mine[name].sum(axis))) == 1


@pytest.mark.parametrize(("neurons", "outputs", "sparsity"), [(10, 2, 0.5), (32, 4, 0.1), (19, 15, 0.9), (64, 8, 0.75)])
def test_auto_ncp_has_the_sizes_of_ncps(neurons, outputs, sparsity):
    reference = ncps.wirings.AutoNCP(neurons, outputs, sparsity)
    reference.build(7)
    graph = wiring.auto_ncp(7, neurons, outputs, sparsity=sparsity)
    for layer, members in enumerate((reference._inter_neurons, reference._command_neurons, reference._motor_neurons)):
        assert np.flatnonzero(graph.layer == layer).tolist() == list(members)
    expected = len(np.argwhere(reference.adjacency_matrix))
    assert len(graph.edges) == pytest.approx(expected, rel=0.2, abs=4)
    assert (graph.sensory != 0).sum() == pytest.approx((reference.sensory_adjacency_matrix != 0).sum(), rel=0.2, abs=4)


def test_signs_and_seeds():
    sizes = SIZES["typical"]
    graph = ours(sizes, inhibitory=0.4)
    assert (graph.signs < 0).sum() == round(0.4 * len(graph.edges))
    assert graph.sensory is not None
    assert (graph.sensory < 0).sum() == round(0.4 * (graph.sensory != 0).sum())
    assert graph == ours(sizes, inhibitory=0.4)
    assert graph != ours(sizes, inhibitory=0.4, seed=1)


@pytest.mark.unchecked
def test_fans_larger_than_a_layer_are_refused():
    good = {"sensory_fanout": 4, "inter_fanout": 3, "command_synapses": 6, "motor_fanin": 3}
    for name, value, most in (
        ("sensory_fanout", 13, 12),
        ("inter_fanout", 7, 6),
        ("command_synapses", 37, 36),
        ("motor_fanin", 7, 6),
        ("motor_fanin", 0, 6),
    ):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer of at most {most}, got {value}"):
            wiring.ncp(8, 12, 6, 3, **(good | {name: value}))
    with pytest.raises(ValueError, match="inputs must be a positive integer, got 0"):
        wiring.ncp(0, 12, 6, 3, **good)
    with pytest.raises(ValueError, match="outputs must be a positive integer of at most 7, got 8"):
        wiring.auto_ncp(4, 10, 8)
    with pytest.raises(ValueError, match=r"sparsity must be 0.1 to 0.9, got 1"):
        wiring.auto_ncp(4, 10, 2, sparsity=1)
