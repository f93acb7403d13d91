"""Writes a loop of a plan as Triton code: pointwise operations on a block, or sums of one."""

from collections.abc import Sequence
from math import prod

from remanence.ops.scan.cpu_body import merge_divisions
from remanence.ops.scan.tensors.planner import Access, Loop
from remanence.ops.scan.tensors.triton_block import POINTWISE, SUMMED, BlockWriter, Chunk, Strides, find_part, round_up
from remanence.ops.scan.tensors.triton_memory import CUBE, MATRIX, Part, add_terms
from remanence.ops.scan.tensors.writer import Dim, merge_loops
from remanence.ops.scan.triton_step import write_assignments

NEIGHBOURS = 32
"""The fewest terms of a block of several results and terms: that many neighbours in memory are read together."""


class LoopWriter:
    """Writes one loop.

    Args:
        writer: of the time step.
        loop: the loop.
        letter: with which the names of its variables begin.
    """

    def __init__(self, writer: BlockWriter, loop: Loop, letter: str):
        self._writer, self._loop, self._letter = writer, loop, letter
        accesses = [*loop.loads, *loop.stores]
        kept = [d for d in range(len(loop.shape)) if d not in loop.reduced and loop.shape[d] != 1]
        inner = [d for d in loop.reduced if loop.shape[d] != 1]
        self._outer, self._inner = (merge_loops(loop.shape, dims, accesses) for dims in (kept, inner))
        results, terms = prod(size for size, _ in self._outer), prod(size for size, _ in self._inner)
        self._reduces, room = bool(loop.reduced), writer.tile.count_numbers(SUMMED if loop.reduced else POINTWISE)
        self._keeps = self._find_matrix() and writer.keep(round_up(results) * round_up(terms))
        if self._keeps:
            room = round_up(results) * round_up(terms)
        # Neighbouring results are often neighbours in memory, too: they share a block with some terms.
        most = room if results == 1 else max(NEIGHBOURS, room // round_up(results))
        self._terms = Chunk(f"{letter}r", terms, most, "[None, None, :]")
        self._results = Chunk(f"{letter}i", results, room // self._terms.width)

    def _find_matrix(self) -> bool:
        """Return whether this is a product with a matrix that all samples share."""
        return any(self._is_matrix(access) for access in self._loop.loads)

    def _is_matrix(self, access: Access) -> bool:
        is_shared = all(place.kind == "shared" for place in self._writer.memory.reads.get(access.node, ()))
        sides = (_find_strides(access, dims) for dims in (self._outer, self._inner))
        return is_shared and not any(_is_constant(side) for side in sides)

    def write(self) -> list[str]:
        """Return the lines."""
        loop, writer = self._loop, self._writer
        outside, inside, names, read = self._write_loads()
        body, outputs = write_assignments(
            merge_divisions(loop.body),
            lambda node: names[int(node.value)],
            writer.real,
            letter=f"{self._letter}v",
            block="1, 1, 1" if self._reduces else "1, 1",
        )
        barrier = writer.wait(read, [find_part(access, _find_strides(access, self._outer)) for access in loop.stores])
        if self._reduces:
            lines = self._write_reduction([*inside, *body], outputs[0])
            outputs = [f"{self._letter}total"]
        else:
            lines = body
        stores = [self._write_store(access, value) for access, value in zip(loop.stores, outputs, strict=True)]
        lines = [*self._define_results(), *outside, *lines, *(line for each in stores for line in each)]
        return [*barrier, *self._results.wrap(lines)]

    def _define_results(self) -> list[str]:
        """Return the definitions of the indices of results: for what is written, and for the block that is summed."""
        lines = _define_indices(self._results.index, self._outer)
        if self._reduces:
            cube = self._name_outer()
            lines += [f"{cube} = {self._results.index}[:, :, None]", *_define_indices(cube, self._outer)]
        return lines

    def _define_terms(self) -> list[str]:
        return _define_indices(self._terms.index, self._inner)

    def _write_store(self, access: Access, value: str) -> list[str]:
        index = add_terms(access.offset, _list_terms(self._results.index, access, self._outer))
        lines = self._writer.write(access.node, index, value, MATRIX, self._results.masks)
        if self._results.is_whole:
            self._writer.remember(access, _find_strides(access, self._outer), self._results.width, value)
        else:
            self._writer.forget(find_part(access, _find_strides(access, self._outer)))
        return lines

    def _write_loads(self) -> tuple[list[str], list[str], list[str], list[Part]]:
        """Return the loads before the loop over terms and inside of it, their names, and what is read."""
        outside, inside, names, read = [], [], [], []
        for number, access in enumerate(self._loop.loads):
            name = self._recall(access) or f"{self._letter}x{number}"
            if self._keeps and self._is_matrix(access):
                lines = [*self._define_results(), *self._define_terms(), f"{name} = {self._write_load(access)}"]
                lines = self._results.wrap(self._terms.wrap(lines))
                self._writer.kept += [line.replace(self._letter, f"kept_{self._letter}") for line in lines]
                name = f"kept_{name}"
            elif name == f"{self._letter}x{number}":
                read.append(find_part(access, _find_strides(access, [*self._outer, *self._inner])))
                varies = not _is_constant(_find_strides(access, self._inner))
                (inside if varies else outside).append(f"{name} = {self._write_load(access)}")
            names.append(name)
        return outside, inside, names, read

    def _recall(self, access: Access) -> str | None:
        """Return the block of an access that is in registers, or None."""
        outer, inner = (_find_strides(access, dims) for dims in (self._outer, self._inner))
        if not self._reduces:
            found = self._writer.recall(access, outer, self._results.width)
            return found if self._results.is_whole or _is_constant(outer) else None
        if not _is_constant(outer) or not (self._terms.is_whole or _is_constant(inner)):
            return None
        found = self._writer.recall(access, inner, self._terms.width)
        return None if found is None else f"{found}[:, None, :]"

    def _write_load(self, access: Access) -> str:
        terms, masks = [], []
        for chunk, name, dims in (
            (self._results, self._name_outer(), self._outer),
            (self._terms, self._terms.index, self._inner),
        ):
            found = _list_terms(name, access, dims)
            terms += found
            masks += [mask.replace(chunk.index, name, 1) for mask in chunk.masks] if found else []
        if not terms:
            terms = ["zero3" if self._reduces else "zero2"]
        return self._writer.read(access.node, add_terms(access.offset, terms), CUBE if self._reduces else MATRIX, masks)

    def _name_outer(self) -> str:
        """Return the name of the index of results, with as many dimensions as the block."""
        return f"{self._letter}j" if self._reduces else self._results.index

    def _write_reduction(self, lines: Sequence[str], output: str) -> list[str]:
        """Write the sum or maximum of a block [samples, results, terms] over its terms."""
        writer, loop, total = self._writer, self._loop, f"{self._letter}total"
        samples, width = writer.tile.samples, self._results.width
        neutral, more = ("0.0", "{} + {}") if loop.reduction == "sum" else ('float("-inf")', "larger({}, {})")
        value = f"tl.broadcast_to({output}, [{samples}, {width}, {self._terms.width}])"
        if self._terms.masks:
            value = f"tl.where({self._terms.masks[0]}, {value}, {neutral})"
        reduced = f"tl.sum({value}, 2)" if loop.reduction == "sum" else f"tl.reduce({value}, 2, larger)"
        before = []
        if not self._terms.is_whole:
            before = [f"{total} = tl.full([{samples}, {width}], {neutral}, {writer.real})"]
            reduced = more.format(total, reduced)
        inner = [*self._define_terms(), *lines, f"{total} = {reduced}"]
        return [*before, *self._terms.wrap(inner)]


def _define_indices(index: str, dims: Sequence[Dim]) -> list[str]:
    """Return the definitions of the index along each of several dimensions, from the place in all of them."""
    lines, below = [], 1
    for number in reversed(range(len(dims))) if len(dims) > 1 else ():
        size = dims[number][0]
        rest = index if below == 1 else f"{index} // {below}"
        lines.append(f"{index}{number} = {rest if number == 0 else f'{rest} % {size}'}")
        below *= size
    return lines


def _list_terms(index: str, access: Access, dims: Sequence[Dim]) -> list[str]:
    """Return the terms of the position of an access that depend on an index."""
    terms = []
    for number, (_, strides) in enumerate(dims):
        name = f"{index}{number}" if len(dims) > 1 else index
        if strides[access]:
            terms.append(name if strides[access] == 1 else f"{name} * {strides[access]}")
    return terms


def _find_strides(access: Access, dims: Sequence[Dim]) -> Strides:
    return [(size, strides[access]) for size, strides in dims]


def _is_constant(strides: Strides) -> bool:
    return all(stride == 0 for _, stride in strides)
