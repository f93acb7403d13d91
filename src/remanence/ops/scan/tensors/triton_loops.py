"""Writes a loop of a plan as Triton code: pointwise operations on a block, or sums of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from remanence.ops.scan.cpu_body import merge_divisions
from remanence.ops.scan.tensors.planner import Access, Loop
from remanence.ops.scan.tensors.triton_block import POINTWISE, SUMMED, BlockWriter, Chunk, Strides, find_part, round_up
from remanence.ops.scan.tensors.triton_memory import CUBE, MATRIX, Part, add_terms
from remanence.ops.scan.tensors.writer import Dim, merge_loops
from remanence.ops.scan.triton_step import write_assignments

NEIGHBOURS = 32
"""The fewest terms of a block of several results and terms: that many neighbours in memory are read together."""


@dataclass(frozen=True)
class _Order:
    """Which dimension of a block is last.

    Attributes:
        results: how an index [samples, results] is expanded to that of the block.
        terms: how an index of terms is.
        recalled: how a block [samples, terms] is.
        axis: the dimension of the terms.
    """

    results: str
    terms: str
    recalled: str
    axis: Literal[1, 2]


_TERMS_LAST = _Order("[:, :, None]", "[None, None, :]", "[:, None, :]", 2)
_RESULTS_LAST = _Order("[:, None, :]", "[None, :, None]", "[:, :, None]", 1)


class LoopWriter:
    """Writes one loop.

    Args:
        writer: writer of the time step.
        loop: the loop to write.
        letter: first letter of the names of variables.
    """

    def __init__(self, writer: BlockWriter, loop: Loop, letter: str):
        self._writer, self._loop, self._letter = writer, loop, letter
        accesses = [*loop.loads, *loop.stores]
        kept = [d for d in range(len(loop.shape)) if d not in loop.reduced and loop.shape[d] != 1]
        inner = [d for d in loop.reduced if loop.shape[d] != 1]
        self._outer, self._inner = (merge_loops(loop.shape, dims, accesses) for dims in (kept, inner))
        self._reduces = bool(loop.reduced)
        self._order = _TERMS_LAST if self._has_terms_last() else _RESULTS_LAST
        results, terms = self._choose_widths()
        self._results = Chunk(f"{letter}i", self._count_places()[0], results)
        self._terms = Chunk(f"{letter}r", self._count_places()[1], terms, self._order.terms)

    def _choose_widths(self) -> tuple[int, int]:
        """Return the most results and the most terms of a block."""
        tile, (results, terms) = self._writer.tile, map(round_up, self._count_places())
        room = tile.count_numbers(SUMMED if self._reduces else POINTWISE)
        if self._order.axis == 1:
            width = min(results, tile.threads)  # a thread has a result of its own
            return width, min(room // width, tile.threads // 2)
        width = min(terms, room if results == 1 else max(NEIGHBOURS, room // results))
        return room // width, width

    def _count_places(self) -> tuple[int, int]:
        """Return how many results and how many terms there are."""
        return prod(size for size, _ in self._outer), prod(size for size, _ in self._inner)

    def _has_terms_last(self) -> bool:
        """Return whether neighbours in memory are terms of one result, not results."""
        for access in self._loop.loads:
            sides = (_find_strides(access, dims) for dims in (self._outer, self._inner))
            steps = [[stride for _, stride in side if stride] for side in sides]
            if all(steps):
                return min(steps[1]) <= min(steps[0])
        return True

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
            lines += [f"{cube} = {self._results.index}{self._order.results}", *_define_indices(cube, self._outer)]
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
            recalled = self._recall(access)
            names.append(recalled or f"{self._letter}x{number}")
            if recalled is None:
                read.append(find_part(access, _find_strides(access, [*self._outer, *self._inner])))
                varies = not _is_constant(_find_strides(access, self._inner))
                (inside if varies else outside).append(f"{names[-1]} = {self._write_load(access)}")
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
        return None if found is None else f"{found}{self._order.recalled}"

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
        sizes = (width, self._terms.width) if self._order.axis == 2 else (self._terms.width, width)
        value = f"tl.broadcast_to({output}, [{samples}, {sizes[0]}, {sizes[1]}])"
        if self._terms.masks:
            value = f"tl.where({self._terms.masks[0]}, {value}, {neutral})"
        axis = self._order.axis
        reduced = f"tl.reduce({value}, {axis}, {'add' if loop.reduction == 'sum' else 'larger'})"
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
