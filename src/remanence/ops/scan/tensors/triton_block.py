"""Blocks of numbers in a Triton kernel: their chunks, reads and writes, barriers, and what is still in registers.

A program takes a tile of the batch through all of time. A block has the dimensions [samples, places], or [samples,
results, terms] where terms are summed. A part of a plan writes its results to the memory of the program, where another
part reads them after a barrier; what a later part reads in the same order it takes from registers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from remanence.ops.scan.tensors.planner import Access
from remanence.ops.scan.tensors.triton_memory import Hazards, Memory, Part, Place, Rows, find_spans, write_mask
from remanence.ops.scan.tensors.writer import indent_lines

Strides = Sequence[tuple[int, int]]
"""Dimensions of a block that are one dimension of it: their sizes and strides in memory."""


POINTWISE, SUMMED, KEPT = 8, 32, 64
"""The most registers of a thread for a block: of pointwise operations, of terms that are summed, and of matrices that
stay in registers through all of time."""


@dataclass(frozen=True)
class Tile:
    """The work that one program does at once.

    Attributes:
        samples: number of samples that the program takes through time.
        warps: number of warps, of 32 threads each.
        words: number of registers that a number takes.
    """

    samples: int
    warps: int
    words: int = 1

    @property
    def threads(self) -> int:
        """The threads of a program."""
        return 32 * self.warps

    def count_numbers(self, registers: int) -> int:
        """Return how many numbers of one sample a block has that takes so many registers of each thread."""
        return max(1, self.threads * registers // self.words // self.samples)


@dataclass(frozen=True)
class Packed:
    """Matrices [groups, terms, columns] in a tensor that all samples share.

    Attributes:
        free: position of the tensor among those that all samples share.
        sizes: numbers of groups, terms and columns.
        strides: strides of groups, terms and columns in the tensor.
        offset: offset of the first number in the tensor.
    """

    free: int
    sizes: tuple[int, int, int]
    strides: tuple[int, int, int]
    offset: int


@dataclass(frozen=True)
class _Block:
    """A node, or a part of it, as the columns of a block, in this order."""

    node: int
    offset: int
    strides: tuple[tuple[int, int], ...]
    width: int

    @property
    def part(self) -> Part:
        """The part of the node."""
        return find_part(Access(self.node, (), self.offset), self.strides)


class BlockWriter:
    """Writes what the parts of a time step have in common.

    Attributes:
        memory: the places of nodes.
        tile: what a program computes at once.
        real: the type of the arithmetic.
        tables: the tables that the parts read.
        packed: the matrices that they read in another layout.
        kept: lines before the loop over time, which load what stays in registers.

    Args:
        memory: the places of nodes; the writer notes which are read.
        tile: what a program computes at once.
        real: the type of the arithmetic.
    """

    def __init__(self, memory: Memory, tile: Tile, real: str):
        self.memory, self.tile, self.real = memory, tile, real
        self.tables: list[tuple[int, ...]] = []
        self.packed: list[Packed] = []
        self.kept: list[str] = []
        self._kept_numbers = 0
        self._hazards = Hazards()
        self._in_registers: dict[_Block, str] = {}

    def pack(self, packed: Packed) -> int:
        """Return a node for a matrix of a tensor that all samples share, laid out with neighbouring columns."""
        if packed not in self.packed:
            self.packed.append(packed)
        node = -(2**20) - self.packed.index(packed)
        self.memory.reads[node] = (Place(f"packed{self.packed.index(packed)}", "shared"),)
        return node

    def keep(self, numbers: int) -> bool:
        """Return whether so many more numbers of matrices stay in registers through all of time.

        They do if the program has one sample: with more, products with a matrix take longer than to read it.
        """
        if self.tile.samples > 1 or self._kept_numbers + numbers > self.tile.count_numbers(KEPT):
            return False
        self._kept_numbers += numbers
        return True

    def read(self, node: int, index: str, rows: Rows, masks: Sequence[str]) -> str:
        """Return numbers of a node."""
        places = self.memory.reads[node]
        if any(place.kind == "tile" for place in places):
            self.memory.used.add(node)
        return " + ".join(place.load(rows, index, masks, self.real) for place in places)

    def write(self, node: int, index: str, value: str, rows: Rows, masks: Sequence[str]) -> list[str]:
        """Return the statements that write numbers of a node."""
        return [place.store(rows, index, value, masks, self.real) for place in self.memory.writes[node]]

    def wait(self, reads: Sequence[Part], writes: Sequence[Part]) -> list[str]:
        """Return the barrier before these reads and writes, if they need one."""
        read = [span for part in reads for span in find_spans(self.memory.reads[part.node], part)]
        written = [span for part in writes for span in find_spans(self.memory.writes[part.node], part)]
        return ["tl.debug_barrier()"] if self._hazards.must_wait(read, written) else []

    def load_table(self, table: tuple[int, ...], index: str, masks: Sequence[str], other: str = "0") -> str:
        """Return entries of a table of whole numbers."""
        if table not in self.tables:
            self.tables.append(table)
        return f"tl.load(table{self.tables.index(table)}_at + ({index}){write_mask(masks, other)})"

    def remember(self, access: Access, strides: Strides, width: int, name: str) -> None:
        """Note that a block that was just written is in registers."""
        self.forget(find_part(access, strides))
        self._in_registers[_Block(access.node, access.offset, _merge(strides), width)] = name

    def forget(self, written: Part) -> None:
        """Note that a part of a node was written: blocks in registers with numbers of it are outdated."""
        self._in_registers = {
            block: name for block, name in self._in_registers.items() if not block.part.meets(written)
        }

    def recall(self, access: Access, strides: Strides, width: int) -> str | None:
        """Return the block of an access if it is in registers: one of this width, or one number for each sample."""
        if all(stride == 0 for _, stride in strides):
            strides, width = (), 1
        return self._in_registers.get(_Block(access.node, access.offset, _merge(strides), width))


def find_part(access: Access, strides: Strides) -> Part:
    """Return the part of a node from the first number of an access to the last."""
    return Part(access.node, access.offset, access.offset + 1 + sum((size - 1) * stride for size, stride in strides))


class Chunk:
    """A dimension of a block: all of a range, or one chunk of it after the other.

    Attributes:
        index: name of the index.
        width: width of the block.
        is_whole: whether there is only one chunk.
        masks: conditions for an index to be in the range; none if all are.
    """

    def __init__(self, index: str, count: int, most: int, expand: str = "[None, :]"):
        self.index, self._count, self._expand = index, count, expand
        self.width = min(round_up(count), 1 << (max(1, most).bit_length() - 1))
        self.is_whole = self.width >= count
        self.masks = [f"({index} < {count})"] if count % self.width else []

    def wrap(self, lines: Sequence[str]) -> list[str]:
        """Return the lines with the definition of the index, in a loop over all chunks."""
        indices = f"tl.arange(0, {self.width}){self._expand}"
        if self.is_whole:
            return [f"{self.index} = {indices}", *lines]
        begin = f"{self.index}_begin"
        return [
            f"for {begin} in range(0, {self._count}, {self.width}):",
            *indent_lines([f"{self.index} = {begin} + {indices}", *lines]),
        ]


def round_up(count: int) -> int:
    """Return the smallest power of two that is not less."""
    return 1 << (max(1, count) - 1).bit_length()


def _merge(strides: Strides) -> tuple[tuple[int, int], ...]:
    """Merge neighbouring dimensions, so that equal orders of places are equal."""
    merged: list[tuple[int, int]] = []
    for size, stride in strides:
        if size == 1:
            continue
        if merged and merged[-1][1] == stride * size:
            merged[-1] = merged[-1][0] * size, stride
        else:
            merged.append((size, stride))
    return tuple(merged)
