"""Writes a pass over time of a step on tensors as a Triton kernel.

A program takes a tile of the batch through all of time, alone: programs never wait for each other. Its memory has a row
of ``WIDTH`` numbers for each sample, of which two parts of ``HALF`` numbers hold what goes from step to step: one is
read, the other written, in turns. Sizes and strides of tensors are run-time numbers.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from remanence._kernels.source_text import fill_template
from remanence.ops.scan.pointwise_graph import Builder
from remanence.ops.scan.tensors.passes import BackwardPass, ForwardPass
from remanence.ops.scan.tensors.planner import GIVEN, Access, Loop, Move, Plan, Planner, Product
from remanence.ops.scan.tensors.tensor_graph import TensorGraph, size_of
from remanence.ops.scan.tensors.triton_block import POINTWISE, BlockWriter, Chunk, Packed, Tile
from remanence.ops.scan.tensors.triton_loops import LoopWriter
from remanence.ops.scan.tensors.triton_memory import MATRIX, Memory, Place
from remanence.ops.scan.tensors.triton_moves import write_move
from remanence.ops.scan.tensors.triton_products import write_product
from remanence.ops.scan.tensors.writer import allocate_places, place_in_sequence
from remanence.ops.scan.triton_step import write_call

_MODULE = '''\
import triton
import triton.language as tl
from triton.language.extra import libdevice

WIDTH = tl.constexpr({width})
HALF = tl.constexpr({half})
NUMBERS = """
    {numbers}
""".split()
POINTERS = """
    {pointers}
""".split()


# tl.sum is a kernel itself, which the interpreter cannot call unless it was on when Triton was imported.
@triton.jit
def add(a, b):
    return a + b


@triton.jit
def larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit(do_not_specialize=NUMBERS, do_not_specialize_on_alignment=POINTERS)
{head}:
    program = tl.program_id(0).to(tl.int64)
    row = tl.arange(0, {samples})
    row2, row3 = row[:, None], row[:, None, None]
    sample = program * {samples} + row
    sample2, sample3 = sample[:, None], sample[:, None, None]
    live2, live3 = sample2 < batch, sample3 < batch
    zero2, zero3 = tl.full([1, 1], 0, tl.int32), tl.full([1, 1, 1], 0, tl.int32)
    mine = scratch_at + program * {samples} * WIDTH
    before = mine
    {begin}
    tl.debug_barrier()
    for i in range(time):
        t = {t}
        before = mine + (i % 2) * HALF
        after = mine + HALF - (i % 2) * HALF
        {now}
        {parts}
        tl.debug_barrier()
    {end}
'''

ALIGNMENT = 4
"""Nodes begin at multiples of so many numbers in the memory of a program."""


@dataclass(frozen=True)
class TritonSource:
    """A kernel before it is compiled.

    Attributes:
        name: name of the kernel.
        text: text of its module.
        tile: the tile that a program computes at once.
        width: number of numbers of a sample in the memory of a program.
        tables: tables of whole numbers that the kernel reads.
        packed: matrices that the kernel reads in another layout.
        sums: position of each node that is added up, among ``sums_size`` numbers of a sample.
        sums_size: number of numbers of each sample that are added up.
    """

    name: str
    text: str
    tile: Tile
    width: int
    tables: tuple[tuple[int, ...], ...]
    packed: tuple[Packed, ...]
    sums: dict[int, int]
    sums_size: int = 0


def forward_source(there: ForwardPass, tile: Tile, real: str) -> TritonSource:
    """Write the kernel ``forward``: from ``input``, ``initial`` state and ``free`` to ``states`` and ``saved``."""
    writer = _PassWriter(there.graph, tile, real)
    holders = writer.carry(there.new, "state")
    writer.read("input")
    writer.store(holders, "states")
    writer.store(there.saved, "saved")
    return writer.write("forward", "tl.cast(i, tl.int64)", start="initial")


def backward_source(back: BackwardPass, tile: Tile, real: str, above: Sequence[bool]) -> TritonSource:
    """Write the kernel ``backward``, which goes through time in reverse.

    It reads what ``forward`` read and wrote and the gradients of ``states`` (``above``) and of the ``final`` state; it
    writes those of the inputs (``d_input``) and of the initial state (``d_state``), the ``factor`` s of totals, and
    the ``sums`` over time.

    Args:
        back: the backward pass.
        tile: the tile that a program computes at once.
        real: the type of the arithmetic.
        above: for each state whether there is a gradient of its sequence.
    """
    outputs = back.graph.outputs
    writer = _PassWriter(back.graph, tile, real)
    writer.carry(outputs[: back.states], "cotangent")
    writer.add_above(above)
    writer.read("input")
    writer.read("saved")
    writer.read_previous_states()
    writer.store(outputs[back.states :], "d_input")
    writer.store(back.factors, "factor")
    writer.add_up(back.sums)
    return writer.write("backward", "time - 1 - tl.cast(i, tl.int64)", start="final", end="d_state")


@dataclass(frozen=True)
class _Carried:
    """Values that are passed from step to step.

    Attributes:
        holder: the node with the values for the next step.
        before: place of the values of the previous step.
        is_read: whether a step reads them.
    """

    holder: int
    before: Place
    is_read: bool


class _PassWriter:
    """Writes the kernel of a pass.

    Args:
        graph: graph of a step.
        tile: the tile that a program computes at once.
        real: the type of the arithmetic.
    """

    def __init__(self, graph: TensorGraph, tile: Tile, real: str):
        self._graph, self._tile, self._real = graph, tile, real
        self._pointers: dict[str, None] = {}
        self._numbers: dict[str, None] = {}
        self._now: list[str] = []
        self._memory = Memory()
        self._copies: list[Loop] = []
        self._carried: list[_Carried] = []
        self._required: set[int] = set()
        self._half = 0
        self._sums: dict[int, int] = {}
        self._sums_size = 0
        for i, node in enumerate(graph.nodes):
            if node.op == "free":
                name = f"free{int(node.value)}"
                self._memory.reads[i] = (Place(name, "shared"),)
                self._pointers[f"{name}_at"] = None

    def carry(self, results: Sequence[int], kind: str) -> list[int]:
        """Keep results for the next step, which reads them as placeholders of a kind; return the nodes that hold them.

        A result that is a placeholder, or that is carried already, is copied at the end of the step.
        """
        for index, node in enumerate(results):
            size, holder = self._size(node), self._hold(node)
            if any(other.holder == holder for other in self._carried):
                holder = self._copy(node)
            before, readers = Place("before", "tile", self._half, size), self._find(kind, index)
            self._carried.append(_Carried(holder, before, bool(readers)))
            self._memory.reads[holder] = self._memory.writes[holder] = (replace(before, base="after"),)
            for reader in readers:
                self._memory.reads[reader] = (before,)
            self._half += -(-size // ALIGNMENT) * ALIGNMENT
        return [carried.holder for carried in self._carried]

    def read(self, kind: str) -> None:
        """Read placeholders of a kind from sequences."""
        for i, node in enumerate(self._graph.nodes):
            if node.op == kind:
                self._memory.reads[i] = (self._declare(f"{kind}{int(node.value)}"),)

    def add_above(self, above: Sequence[bool]) -> None:
        """Add the gradients of the states over time to those that come from later steps."""
        for index, given in enumerate(above):
            for i in self._find("cotangent", index) if given else ():
                self._memory.reads[i] += (self._declare(f"above{index}"),)

    def read_previous_states(self) -> None:
        """Read the state before each step: from the states over time, or the initial one."""
        for i, node in enumerate(self._graph.nodes):
            if node.op == "state":
                index = int(node.value)
                history, first, name = f"states{index}", f"initial{index}", f"state{index}"
                self._memory.reads[i] = (Place(name, "batch"),)
                self._pointers |= dict.fromkeys((f"{history}_at", f"{first}_at"))
                self._numbers |= dict.fromkeys((f"{history}_batch", f"{history}_time", f"{first}_batch"))
                self._now += [
                    f"{name}_now = {first}_at",
                    f"{name}_batch = tl.cast({first}_batch, tl.int64)",
                    "if t > 0:",
                    f"    {name}_now = {history}_at + (t - 1) * {history}_time",
                    f"    {name}_batch = tl.cast({history}_batch, tl.int64)",
                ]

    def store(self, results: Sequence[int], kind: str) -> None:
        """Store results over time."""
        for index, node in enumerate(results):
            place = self._declare(f"{kind}{index}", self._size(node))
            self._write_also(self._hold(node), place)

    def add_up(self, sums: Sequence[int]) -> None:
        """Add up results over time, for each sample."""
        self._sums, self._sums_size = place_in_sequence(self._graph, sums)
        if sums:
            self._pointers["sums_at"] = None
            self._now += ["sums_now = sums_at", f"sums_batch = {self._sums_size}"]
        for node in sums:
            self._write_also(self._hold(node), Place("sums", "batch", self._sums[node], self._size(node), adds=True))

    def write(self, name: str, t: str, start: str, end: str = "") -> TritonSource:
        """Write the kernel.

        Args:
            name: name of the kernel.
            t: expression for the time of step ``i``.
            start: name of the values that enter the first step.
            end: name of the values that leave the last step, if they are stored.
        """
        plan = self._make_plan()
        used = self._write_parts(plan, None)[0].memory.used
        used |= {carried.holder for carried in self._carried if carried.is_read or end}
        writer, parts, width = self._write_parts(plan, used)
        begin, last = [], ["before = mine + (time % 2) * HALF"] if end else []
        for k, carried in enumerate(self._carried):
            begin += self._transfer(f"{start}{k}", carried.before, inwards=True) if carried.is_read else []
            last += self._transfer(f"{end}{k}", carried.before, inwards=False) if end else []
        tables = [f"table{k}_at" for k in range(len(writer.tables))]
        packed = [f"packed{k}_at" for k in range(len(writer.packed))]
        numbers = [*self._numbers, "time", "batch"]
        text = fill_template(
            _MODULE,
            width=str(width),
            half=str(self._half),
            numbers=textwrap.fill(" ".join(numbers), 110),
            pointers=textwrap.fill(" ".join(self._pointers), 110),
            head=write_call(f"def {name}", [*self._pointers, *tables, *packed, "scratch_at", *numbers]),
            samples=str(self._tile.samples),
            begin="\n".join([*begin, *writer.kept]),
            t=t,
            now="\n".join(self._now),
            parts="\n".join(parts),
            end="\n".join(last),
        )
        return TritonSource(
            name, text, self._tile, width, (*writer.tables,), (*writer.packed,), self._sums, self._sums_size
        )

    def _size(self, node: int) -> int:
        if node < 0:
            return self._copies[-1 - node].shape[0]
        return size_of(self._graph.shapes[node])

    def _find(self, kind: str, index: int) -> list[int]:
        """Return the placeholders of a kind with this index."""
        return [i for i, node in enumerate(self._graph.nodes) if node.op == kind and int(node.value) == index]

    def _declare(self, name: str, size: int = 0) -> Place:
        """Declare a sequence as an argument of the kernel; return its place at the time of a step."""
        self._pointers[f"{name}_at"] = None
        self._numbers |= dict.fromkeys((f"{name}_batch", f"{name}_time"))
        self._now.append(f"{name}_now = {name}_at + t * {name}_time")
        return Place(name, "batch", 0, size)

    def _hold(self, node: int) -> int:
        """Return the node that a part writes with the values of this one: a copy where it is a placeholder."""
        if node < 0:
            return node
        self._required.add(node)
        return self._copy(node) if self._graph.nodes[node].op in GIVEN else node

    def _copy(self, node: int) -> int:
        """Return a new node, which a loop at the end of the step copies from this one."""
        copy = -1 - len(self._copies)
        builder = Builder()
        body = builder.build_graph([builder.add("input")])
        self._copies.append(Loop((self._size(node),), body, (Access(node, (1,)),), (Access(copy, (1,)),)))
        self._memory.reads[copy] = self._memory.writes[copy] = ()
        return copy

    def _write_also(self, node: int, place: Place) -> None:
        self._memory.writes[node] = (*self._memory.writes.get(node, ()), place)

    def _transfer(self, name: str, place: Place, *, inwards: bool) -> list[str]:
        """Write the copy of what goes from step to step from or to a tensor."""
        self._pointers[f"{name}_at"] = self._numbers[f"{name}_batch"] = None
        source, target = (Place(name, "batch"), place) if inwards else (place, Place(name, "batch"))
        places = Chunk(f"{name}_i", place.size, self._tile.count_numbers(POINTWISE))
        loaded = source.load(MATRIX, places.index, places.masks, self._real)
        return [
            f"{name}_now = {name}_at",
            *places.wrap([target.store(MATRIX, places.index, loaded, places.masks, self._real)]),
        ]

    def _make_plan(self) -> Plan:
        """Return the plan of a step, with the copies at its end."""
        plan = Planner(self._graph, self._required).make()
        plan.parts += self._copies
        plan.find_lifetimes()
        return plan

    def _write_parts(self, plan: Plan, stored: set[int] | None) -> tuple[BlockWriter, list[str], int]:
        """Write the parts of a step; return the writer, the lines, and the numbers of a sample in memory."""
        given = self._memory
        memory = Memory(dict(given.reads), dict(given.writes))
        own = {n: size for n, size in plan.buffers.items() if n not in given.reads and (stored is None or n in stored)}
        places, end = allocate_places(replace(plan, buffers=own), self._graph, (), ALIGNMENT)
        for node in plan.buffers:
            if node in places:
                memory.reads[node] = (Place("mine", "tile", 2 * self._half + places[node], plan.buffers[node]),)
            if node not in given.reads:
                memory.writes[node] = (*memory.reads.get(node, ()), *given.writes.get(node, ()))
        writer = BlockWriter(memory, self._tile, self._real)
        lines = [line for number, part in enumerate(plan.parts) for line in self._write_part(writer, number, part)]
        return writer, lines, max(2 * self._half + end, ALIGNMENT)

    def _write_part(self, writer: BlockWriter, number: int, part: Loop | Product | Move) -> list[str]:
        letter = f"p{number}_"
        if isinstance(part, Move):
            return write_move(writer, part, letter)
        if isinstance(part, Product):
            return write_product(writer, self._graph, part, letter)
        return LoopWriter(writer, part, letter).write()
