"""Writes the matrix products of a plan as Triton code: ``tl.dot`` on tiles, or sums of products if they are small."""

from dataclasses import dataclass, replace

from remanence.ops.scan.pointwise_graph import Builder
from remanence.ops.scan.tensors.planner import Access, Loop, Product
from remanence.ops.scan.tensors.tensor_graph import TensorGraph
from remanence.ops.scan.tensors.triton_block import SUMMED, BlockWriter, Chunk, Packed, round_up
from remanence.ops.scan.tensors.triton_loops import LoopWriter
from remanence.ops.scan.tensors.triton_memory import CUBE, MATRIX, Part, Rows, add_terms
from remanence.ops.scan.tensors.writer import indent_lines

SMALLEST_DOT, FEWEST_ROWS = 16, 4
"""The fewest columns and terms, and the fewest rows, of a product for ``tl.dot``."""

MOST_ROWS = 32
"""The most rows of a tile."""


def write_product(writer: BlockWriter, graph: TensorGraph, product: Product, letter: str) -> list[str]:
    """Return the lines of a product; ``letter`` begins the names of its variables."""
    sides = _find_sides(graph, product)
    if sides.is_shared:
        sides = _pack(writer, graph, sides)
    rows = sides.others * (writer.tile.samples if sides.is_shared else 1)
    kept = _KeptWriter(writer, sides, letter)
    if rows == sides.groups == 1 and sides.is_shared and writer.keep(kept.count_numbers()):
        return kept.write()
    if rows < FEWEST_ROWS or min(sides.columns, sides.terms) < SMALLEST_DOT:
        return LoopWriter(writer, _as_loop(sides), letter).write()
    return _DotWriter(writer, sides, letter).write()


@dataclass(frozen=True)
class _Sides:
    """A product x · matrix, whose result has a row for each row of x and a column for each column of the matrix.

    Strides are those of groups, rows and columns.

    Attributes:
        x: the left factor.
        matrix: the right factor.
        out: the result.
        groups: number of products.
        others: number of rows of x in each sample.
        terms: number of columns of x, which is that of rows of the matrix.
        columns: number of columns of the matrix.
        is_shared: whether all samples have the same matrix.
    """

    x: Access
    matrix: Access
    out: Access
    groups: int
    others: int
    terms: int
    columns: int
    is_shared: bool


def _find_sides(graph: TensorGraph, product: Product) -> _Sides:
    groups, i, k, j = product.sizes
    if graph.nodes[product.left.node].op == "free":
        x, matrix, out = (_transpose(access) for access in (product.right, product.left, product.out))
        return _Sides(x, matrix, out, groups, j, k, i, True)
    is_shared = graph.nodes[product.right.node].op == "free"
    return _Sides(product.left, product.right, product.out, groups, i, k, j, is_shared)


def _transpose(access: Access) -> Access:
    group, row, column = access.strides
    return Access(access.node, (group, column, row), access.offset)


def _pack(writer: BlockWriter, graph: TensorGraph, sides: _Sides) -> _Sides:
    """Return a product whose matrix has neighbouring columns in memory: threads that compute them read them at once."""
    matrix, sizes = sides.matrix, (sides.groups, sides.terms, sides.columns)
    if matrix.strides[2] == 1 or sides.columns == 1:
        return sides
    group, term, column = matrix.strides
    packed = Packed(int(graph.nodes[matrix.node].value), sizes, (group, term, column), matrix.offset)
    strides = (sides.terms * sides.columns if sides.groups > 1 else 0, sides.columns, 1)
    return replace(sides, matrix=Access(writer.pack(packed), strides))


class _KeptWriter:
    """Writes the product of one row with a matrix that stays in registers, as a sum of products.

    A thread has some terms of one result. The terms are taken in pieces, each of fewer numbers of x than there are
    threads: every thread then loads those of its terms, while a larger block would decide which thread has which term.
    """

    def __init__(self, writer: BlockWriter, sides: _Sides, letter: str):
        self._writer, self._sides, self._letter = writer, sides, letter
        most = max(1, writer.tile.threads // 2)
        whole = sides.terms & -sides.terms  # the largest power of two that divides it
        self._width = min(most, whole if whole >= SMALLEST_DOT else round_up(sides.terms))
        self._pieces = -(-sides.terms // self._width)
        self._columns = Chunk(f"{letter}n", sides.columns, sides.columns * 2)

    def count_numbers(self) -> int:
        """Return how many numbers of the matrix are in registers."""
        return self._pieces * self._width * self._columns.width

    def write(self) -> list[str]:
        """Return the lines."""
        writer, sides, letter = self._writer, self._sides, self._letter
        matrix, pieces, total = sides.matrix, range(self._pieces), f"{letter}total"
        column = f"kept_{letter}n"
        writer.kept.append(f"{column} = tl.arange(0, {self._columns.width})[None, None, :]")
        masks = [mask.replace(self._columns.index, column) for mask in self._columns.masks]
        for piece in pieces:
            row = f"kept_{letter}k{piece}"
            index = add_terms(matrix.offset, [f"{row} * {matrix.strides[1]}", f"{column} * {matrix.strides[2]}"])
            writer.kept += [
                f"{row} = {self._define_terms(piece)}",
                f"kept_{letter}w{piece} = {writer.read(matrix.node, index, CUBE, [*masks, *self._mask(row)])}",
            ]
        recalled = self._recall()
        barrier = writer.wait([] if recalled else [Part(sides.x.node)], [Part(sides.out.node)])
        lines = [line for piece in pieces for line in self._load_x(piece, recalled)]
        products = " + ".join(f"{letter}x{piece} * kept_{letter}w{piece}" for piece in pieces)
        index = add_terms(sides.out.offset, [f"{self._columns.index} * {sides.out.strides[2]}"])
        lines += [
            f"{total} = tl.reduce({products}, 1, add)",
            *writer.write(sides.out.node, index, total, MATRIX, self._columns.masks),
        ]
        writer.remember(sides.out, [(sides.columns, sides.out.strides[2])], self._columns.width, total)
        return [*barrier, *self._columns.wrap(lines)]

    def _recall(self) -> str | None:
        """Return the block of x if it is in registers."""
        if self._pieces > 1:
            return None
        return self._writer.recall(self._sides.x, [(self._sides.terms, self._sides.x.strides[2])], self._width)

    def _load_x(self, piece: int, recalled: str | None) -> list[str]:
        row, x = f"{self._letter}k{piece}", self._sides.x
        masks = self._mask(row)
        if recalled is None:
            index = add_terms(x.offset, [f"{row} * {x.strides[2]}"])
            value = self._writer.read(x.node, index, CUBE, masks)
        else:
            value = f"{recalled}[:, :, None]"
            value = f"tl.where({masks[0]}, {value}, 0.0)" if masks else value
        return [f"{row} = {self._define_terms(piece)}", f"{self._letter}x{piece} = {value}"]

    def _define_terms(self, piece: int) -> str:
        indices = f"tl.arange(0, {self._width})[None, :, None]"
        return f"{piece * self._width} + {indices}" if piece else indices

    def _mask(self, row: str) -> list[str]:
        """Return the mask of terms, unless all pieces are whole."""
        return [f"({row} < {self._sides.terms})"] if self._sides.terms % self._width else []


class _DotWriter:
    """Writes a product by ``tl.dot``. Its rows are those of all samples, or of one sample after the other."""

    def __init__(self, writer: BlockWriter, sides: _Sides, letter: str):
        self._writer, self._sides, self._letter = writer, sides, letter
        samples = writer.tile.samples
        numbers = samples * writer.tile.count_numbers(SUMMED)
        rows = sides.others * (samples if sides.is_shared else 1)
        self._rows = Chunk(f"{letter}m", rows, MOST_ROWS, "[:, None]")
        self._columns = Chunk(f"{letter}n", sides.columns, max(SMALLEST_DOT, numbers // 2 // self._rows.width))
        most = max(SMALLEST_DOT, numbers // max(self._rows.width, self._columns.width))
        self._terms = Chunk(f"{letter}k", sides.terms, most, "")
        self._is_plain = sides.is_shared and sides.others == 1 and sides.groups == 1 and self._rows.is_whole

    def write(self) -> list[str]:
        """Return the lines."""
        writer, sides, letter = self._writer, self._sides, self._letter
        recalled = self._recall()
        read = [Part(sides.matrix.node), *([] if recalled else [Part(sides.x.node)])]
        barrier = writer.wait(read, [Part(sides.out.node)])
        lines = self._terms.wrap(self._write_terms(recalled))
        total = f"{letter}total"
        zero = f"{total} = tl.full([{self._rows.width}, {self._columns.width}], 0.0, {writer.real})"
        index = self._write_index(sides.out, f"{letter}n")
        store = writer.write(
            sides.out.node, index, total, self._make_rows(), [*self._rows.masks, *self._columns.masks]
        )  # fmt: skip
        lines = self._rows.wrap([*self._define_rows(), *self._columns.wrap([zero, *lines, *store])])
        if sides.groups > 1:
            lines = [f"for {letter}g in range({sides.groups}):", *indent_lines(lines)]
        if not sides.is_shared:
            lines = [f"for {letter}b in range({writer.tile.samples}):", *indent_lines(lines)]
        if self._is_plain and self._columns.is_whole:
            writer.remember(sides.out, [(sides.columns, sides.out.strides[2])], self._columns.width, total)
        else:
            writer.forget(Part(sides.out.node))
        return [*barrier, *lines]

    def _recall(self) -> str | None:
        """Return the block of x if it is in registers."""
        if not self._is_plain or not self._terms.is_whole:
            return None
        return self._writer.recall(
            self._sides.x, [(self._sides.terms, self._sides.x.strides[2])], self._terms.width
        )  # fmt: skip

    def _write_terms(self, recalled: str | None) -> list[str]:
        """Return the lines that load a chunk of both factors and add their product."""
        writer, sides, letter, index = self._writer, self._sides, self._letter, self._terms.index
        masks = self._terms.masks
        row, column = ([mask.replace(index, f"{letter}k{side}") for mask in masks] for side in ("x", "w"))
        if recalled is None:
            at = self._write_index(sides.x, f"{letter}kx")
            x = writer.read(sides.x.node, at, self._make_rows(), [*self._rows.masks, *row])
        else:
            x = f"tl.broadcast_to({recalled}, [{self._rows.width}, {self._terms.width}])"
            x = f"tl.where({row[0]}, {x}, 0.0)" if row else x
        matrix = Access(sides.matrix.node, (sides.matrix.strides[0], 0, sides.matrix.strides[2]), sides.matrix.offset)
        at = self._write_index(matrix, f"{letter}n", f"{letter}kw", sides.matrix.strides[1])
        w = writer.read(sides.matrix.node, at, self._make_rows(), [*column, *self._columns.masks])
        total = f"{letter}total"
        return [
            f"{letter}kx = {index}[None, :]",
            f"{letter}kw = {index}[:, None]",
            f"{letter}x = {x}",
            f"{letter}w = {w}",
            f'{total} = tl.dot({letter}x, {letter}w, {total}, input_precision="ieee", out_dtype={writer.real})',
        ]

    def _define_rows(self) -> list[str]:
        """Return the definitions of the sample and of the row in it to which a row of the tile belongs."""
        sides, letter, samples = self._sides, self._letter, self._writer.tile.samples
        if not sides.is_shared:
            return [f"{letter}sample = program * {samples} + {letter}b", f"{letter}live = {letter}sample < batch"]
        of = f"{letter}m" if sides.others == 1 else f"{letter}m // {sides.others}"
        lines = [f"{letter}b = {of}"]
        if sides.others > 1:
            lines.append(f"{letter}o = {letter}m % {sides.others}")
        return [*lines, f"{letter}sample = program * {samples} + {letter}b", f"{letter}live = {letter}sample < batch"]

    def _make_rows(self) -> Rows:
        return Rows(f"{self._letter}b", f"{self._letter}sample", f"{self._letter}live")

    def _write_index(self, access: Access, column: str, more: str = "", stride: int = 0) -> str:
        """Return the position of a row and column of an access in its sample."""
        letter, sides = self._letter, self._sides
        row = f"{letter}o" if sides.is_shared else f"{letter}m"
        names = ((f"{letter}g", access.strides[0], sides.groups), (row, access.strides[1], sides.others))
        terms = [f"{name} * {step}" for name, step, size in names if step and size > 1]
        return add_terms(
            access.offset,
            [*terms, f"{column} * {access.strides[2]}", *([f"{more} * {stride}"] if more else [])],
        )


def _as_loop(sides: _Sides) -> Loop:
    """Return a product as a loop that sums products."""
    x, matrix, out = sides.x, sides.matrix, sides.out
    builder = Builder()
    place = builder.apply("mul", builder.add("input", value=0), builder.add("input", value=1))
    loads = (
        Access(x.node, (x.strides[0], x.strides[1], 0, x.strides[2]), x.offset),
        Access(matrix.node, (matrix.strides[0], 0, matrix.strides[2], matrix.strides[1]), matrix.offset),
    )
    shape = sides.groups, sides.others, sides.columns, sides.terms
    return Loop(shape, builder.build_graph([place]), loads, (Access(out.node, (*out.strides, 0), out.offset),), (3,))
