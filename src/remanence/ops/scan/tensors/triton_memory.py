"""Where the numbers of a sample are while a Triton kernel runs, and when its threads must wait for each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Rows:
    """How a block addresses samples: expressions that have as many dimensions as the block.

    Attributes:
        row: the position of a sample among those of the program.
        sample: its position in the batch.
        live: whether there is such a sample.
    """

    row: str
    sample: str
    live: str


MATRIX = Rows("row2", "sample2", "live2")
"""Of blocks [samples, places]."""

CUBE = Rows("row3", "sample3", "live3")
"""Of blocks [samples, results, terms]."""


@dataclass(frozen=True)
class Place:
    """The place of a node in memory.

    Attributes:
        base: the name of the memory.
        kind: ``tile``, memory of the program, with a row for each of its samples, at the pointer ``base``; ``batch``, a
            tensor at ``base_now`` with the stride ``base_batch`` of samples; ``shared``, one for all, at ``base_at``.
        start: the position of the first number.
        size: number of numbers.
        adds: whether a write adds to the numbers that are there.
    """

    base: str
    kind: Literal["tile", "batch", "shared"]
    start: int = 0
    size: int = 0
    adds: bool = False

    def load(self, rows: Rows, index: str, masks: Sequence[str], real: str) -> str:
        """Return the numbers; 0 where a mask is false."""
        loaded = f"tl.load({self._address(rows, index)}{write_mask(self._mask(rows, masks), '0.0')})"
        return loaded if self.kind == "tile" else f"{loaded}.to({real})"

    def store(self, rows: Rows, index: str, value: str, masks: Sequence[str], real: str) -> str:
        """Return the statement that writes numbers."""
        if self.adds:
            value = f"{self.load(rows, index, masks, real)} + {value}"
        return f"tl.store({self._address(rows, index)}, {value}{write_mask(self._mask(rows, masks))})"

    def _address(self, rows: Rows, index: str) -> str:
        at = add_terms(self.start, [index])
        if self.kind == "tile":
            return f"{self.base} + {rows.row} * WIDTH + ({at})"
        if self.kind == "batch":
            return f"{self.base}_now + {rows.sample} * {self.base}_batch + ({at})"
        return f"{self.base}_at + ({at})"

    def _mask(self, rows: Rows, masks: Sequence[str]) -> list[str]:
        """Return the masks, with that of the samples where not all rows have memory."""
        return [*masks, rows.live] if self.kind == "batch" else [*masks]


def add_terms(offset: int, terms: Sequence[str]) -> str:
    """Write a sum of a number and terms."""
    return " + ".join([*([str(offset)] if offset or not terms else []), *terms])


def write_mask(masks: Sequence[str], other: str | None = None) -> str:
    """Write the last arguments of a load or store."""
    if not masks:
        return ""
    return f", {' & '.join(masks)}" + ("" if other is None else f", {other}")


@dataclass
class Memory:
    """The places of all nodes.

    Attributes:
        reads: where a node is read: the sum of these places.
        writes: where it is written, each of them.
        used: nodes that are read from the memory of the program; others need not be written there.
    """

    reads: dict[int, tuple[Place, ...]] = field(default_factory=dict)
    writes: dict[int, tuple[Place, ...]] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Part:
    """A part of a node.

    Attributes:
        node: the node.
        start: position of the first number.
        stop: position after the last number; None for all numbers from the first on.
    """

    node: int
    start: int = 0
    stop: int | None = None

    def meets(self, other: "Part") -> bool:
        """Return whether both have a number in common."""
        first, second = (float("inf") if part.stop is None else part.stop for part in (self, other))
        return self.node == other.node and self.start < second and other.start < first


Span: TypeAlias = tuple[str, int, int]
"""A part of memory: its name, the first number and the one after the last."""


class Hazards:
    """The parts of memory read and written since the threads of a program last waited for each other."""

    def __init__(self) -> None:
        self._read: list[Span] = []
        self._written: list[Span] = []

    def must_wait(self, reads: Sequence[Span], writes: Sequence[Span]) -> bool:
        """Return whether the threads must wait before these reads and writes, which are noted."""
        wait = _meet(reads, self._written) or _meet(writes, self._written) or _meet(writes, self._read)
        if wait:
            self._read, self._written = [], []
        self._read += reads
        self._written += writes
        return wait


def find_spans(places: Sequence[Place], part: Part) -> list[Span]:
    """Return where in memory a part of a node is."""
    return [(p.base, p.start + part.start, p.start + (p.size if part.stop is None else part.stop)) for p in places]


def _meet(some: Sequence[Span], others: Sequence[Span]) -> bool:
    return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in some for b in others)
