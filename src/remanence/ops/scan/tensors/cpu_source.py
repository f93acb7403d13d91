"""Writes the plan of a time step as a kernel: the loop over time for a block of samples.

Every number of a sample is a vector over the ``LANES`` samples of a block, so that whatever a step does with the
numbers of one sample is a loop over vectors. ``mine`` is the memory of a thread, in which a number takes ``ROW`` bytes.
Tensors [batch, time, ...] are transposed when they are loaded and stored; a table with rows of :data:`COLUMNS` whole
numbers contains their addresses and strides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from remanence._kernels.interleave import write_transpose
from remanence._kernels.kernel_source import HEAD, KernelSource
from remanence.ops.scan.tensors.passes import BackwardPass, ForwardPass
from remanence.ops.scan.tensors.planner import Planner
from remanence.ops.scan.tensors.tensor_graph import Shape, TensorGraph, size_of
from remanence.ops.scan.tensors.writer import Constant, Writer, allocate_places, indent_lines, place_in_sequence

COLUMNS = ("address", "sample", "step", "count", "place")
"""Of a tensor: its address, the strides of samples and of steps in bytes, how many numbers a sample has, and the
position of these in the memory of a thread, in numbers."""

ARGUMENTS = (
    *HEAD,
    "time", "batch", "scratch", "scratch_size", "frees",
    "starts", "starts_count", "loads", "loads_count", "grads", "grads_count",
    "stores", "stores_count", "ends", "ends_count", "saved", "saved_count", "sums", "sums_size",
)  # fmt: skip


@dataclass(frozen=True)
class TensorSource(KernelSource):
    """A kernel, and the layout of its memory.

    Attributes:
        places: position of every node with memory of its own in the memory of a thread, in numbers.
        size: numbers in the memory of a thread.
        constants: rearranged matrices and tables, which all samples share.
        saved: position of each saved node in those of one block and time step; ``saved_size`` numbers in all.
        sums: position of every total in the sums; ``sums_size`` numbers in all.
    """

    places: dict[int, int]
    size: int
    constants: tuple[Constant, ...]
    saved: dict[int, int]
    saved_size: int
    sums: dict[int, int]
    sums_size: int

    __hash__ = object.__hash__


def _write_transposes(lanes: int) -> str:
    """Write functions that transpose a block of samples, when it is loaded and when it is stored.

    The samples after the last one are copies of it. The last one is stored last; the gradients of copies are loaded as
    zeros.
    """
    at = [
        f"at{lane} = address + (sample + {lane} if sample + {lane} < batch else batch - 1) * stride"
        for lane in range(lanes)
    ]
    inwards = [
        *at,
        "for j in range(0, length, LANES):",
        "    inside = first(length - j)",
        *(f"    x{lane} = load(at{lane} + j * SIZE, inside)" for lane in range(lanes)),
        *indent_lines(write_transpose(lanes).splitlines()),
        *(f"    store_full(target + (j + {lane}) * ROW, where(valid, x{lane}, 0.0))" for lane in range(lanes)),
    ]
    outwards = [
        *at,
        "for j in range(0, length, LANES):",
        "    inside = first(length - j)",
        *(f"    x{lane} = load_full(target + (j + {lane}) * ROW)" for lane in range(lanes)),
        *indent_lines(write_transpose(lanes).splitlines()),
        *(f"    store(at{lane} + j * SIZE, x{lane}, inside)" for lane in reversed(range(lanes))),
    ]
    arguments = "address, stride, length, target, sample, batch"
    return "\n".join(
        [
            f"def turn_in({arguments}, real):",
            *indent_lines(["ROW = LANES * SIZE", "valid = first(real)", *inwards]),
            f"def turn_out({arguments}):",
            *indent_lines(["ROW = LANES * SIZE", *outwards]),
            "",
        ]
    )


def _write_table_transpose(way: str, table: str, step: str = "0", *, gradients: bool = False) -> list[str]:
    """Write the loop that loads or stores all tensors of a table."""
    real = ", batch - sample" if gradients else ", LANES"
    return [
        f"for row in range({table}_count):",
        f"    entry = {table} + row * {8 * len(COLUMNS)}",
        f"    turn_{way}(integer(entry) + {step} * integer(entry + 16), integer(entry + 8), integer(entry + 24), "
        f"mine + integer(entry + 32) * ROW, sample, batch{real if way == 'in' else ''})",
    ]


def _write_copy(source: str, target: str, count: int) -> list[str]:
    return [
        f"for i in range({count}):",
        f"    store_full({target} + i * ROW, load_full({source} + i * ROW))",
    ]


def forward(there: ForwardPass, lanes: int, block: int) -> TensorSource:
    """Write the kernel of a forward pass."""
    graph, new, saved = there.graph, there.new, there.saved
    plan = Planner(graph, (*new, *saved)).make()
    writer = Writer(graph, plan, there.frees, block, saved)
    given = [i for i, node in enumerate(graph.nodes) if node.op in ("state", "input")]
    writer.places, size = allocate_places(plan, graph, [*given, *new, *saved], lanes)
    places = writer.places
    before = {int(node.value): i for i, node in enumerate(graph.nodes) if node.op == "state"}
    lines = [
        *_write_table_transpose("in", "starts"),
        "for t in range(time):",
        *indent_lines(_write_table_transpose("in", "loads", "t")),
        *indent_lines(writer.write_parts()),
        *indent_lines(_write_table_transpose("out", "stores", "t")),
        "    kept = saved + (unit * time + t) * saved_count * ROW",
        *indent_lines(
            line
            for node in saved
            for line in _write_copy(
                f"(mine + {places[plan.homes[node].node]} * ROW)", f"(kept + {writer.saved[node]} * ROW)",
                size_of(graph.shapes[node]),
            )
        ),
    ]  # fmt: skip
    moved, size = _write_state_update(graph, new, before, places, size, lanes)
    lines += indent_lines(moved)
    return _write_kernel("forward", lines, writer, lanes, size, {})


def _write_state_update(
    graph: TensorGraph, new: Sequence[int], before: dict[int, int], places: dict[int, int], size: int, lanes: int
) -> tuple[list[str], int]:
    """Write the copies of the new states over the old ones, through other memory where one is an old state itself."""
    lines, late = [], []
    old = set(before.values())
    for index, node in enumerate(new):
        if index not in before or before[index] == node:
            continue
        count = size_of(graph.shapes[node])
        source, target = f"(mine + {places[node]} * ROW)", f"(mine + {places[before[index]]} * ROW)"
        if node in old:
            between = f"(mine + {size} * ROW)"
            size += -(-count // lanes) * lanes
            lines = [*_write_copy(source, between, count), *lines]
            late += _write_copy(between, target, count)
        else:
            late += _write_copy(source, target, count)
    return [*lines, *late], size


def backward(back: BackwardPass, lanes: int, block: int) -> TensorSource:
    """Write the kernel of a backward pass."""
    graph, states, saved, sums, operands = back.graph, back.states, back.saved, back.sums, back.factors
    results = graph.outputs
    plan = Planner(graph, {*results, *sums, *operands}).make()
    writer = Writer(graph, plan, back.frees, block, saved)
    given = [i for i, node in enumerate(graph.nodes) if node.op in ("state", "input", "cotangent")]
    writer.places, size = allocate_places(plan, graph, [*given, *results, *sums, *operands], lanes)
    places = writer.places
    # The gradient that comes from later steps has memory of its own: cotangent = that + the one from outside.
    above = {int(n.value): i for i, n in enumerate(graph.nodes) if n.op == "cotangent"}
    carried = {}
    for index in range(states):
        carried[index] = size
        size += -(-size_of(_state_shape(graph, index, results)) // lanes) * lanes
    totals, totals_size = place_in_sequence(graph, sums)
    lines = [
        *_write_table_transpose("in", "starts", gradients=True),
        "for back in range(time):",
        "    t = time - 1 - back",
        "    kept = saved + (unit * time + t) * saved_count * ROW",
        *indent_lines(_write_table_transpose("in", "loads", "t")),
        *indent_lines(_write_table_transpose("in", "grads", "t", gradients=True)),
        *indent_lines(
            line
            for index, node in above.items()
            for line in (
                f"for i in range({size_of(graph.shapes[node])}):",
                f"    g = mine + ({places[node]} + i) * ROW",
                f"    store_full(g, load_full(g) + load_full(mine + ({carried[index]} + i) * ROW))",
            )
        ),
        *indent_lines(writer.write_parts()),
        *indent_lines(_write_table_transpose("out", "stores", "t")),
        *indent_lines(
            line
            for node in sums
            for line in (
                f"for i in range({size_of(graph.shapes[node])}):",
                f"    g = sums + part * sums_size + ({totals[node]} + i) * ROW",
                f"    store_full(g, load_full(g) + load_full(mine + ({places[plan.homes[node].node]} + i) * ROW))",
            )
        ),
        *indent_lines(
            line
            for index in range(states)
            for line in _write_copy(
                f"(mine + {places[results[index]]} * ROW)", f"(mine + {carried[index]} * ROW)",
                size_of(graph.shapes[results[index]]),
            )
        ),
        *_write_table_transpose("out", "ends"),
    ]  # fmt: skip
    source = _write_kernel("backward", lines, writer, lanes, size, totals, totals_size)
    source.places.update({-1 - index: place for index, place in carried.items()})
    return source


def _state_shape(graph: TensorGraph, index: int, results: Sequence[int]) -> Shape:
    return graph.shapes[results[index]]


def _write_kernel(
    name: str, lines: list[str], writer: Writer, lanes: int, size: int, sums: dict[int, int], sums_size: int = 0
) -> TensorSource:
    whole = [
        "ROW = LANES * SIZE",
        "mine = scratch + part * scratch_size",
        "for unit in range(begin, end):",
        *indent_lines(["sample = unit * LANES", *lines]),
    ]
    head = f"def {name}(\n    {', '.join(ARGUMENTS)},\n):\n"
    text = _write_transposes(lanes) + head + "\n".join(indent_lines(whole)) + "\n"
    return TensorSource(
        text, ARGUMENTS, writer.places, size, tuple(writer.constants), writer.saved, writer.saved_size, sums, sums_size
    )
