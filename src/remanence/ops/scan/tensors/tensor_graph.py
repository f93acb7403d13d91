"""Graphs of a step on tensors: nodes have the shape of one sample, and may be views of others."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan.pointwise_graph import Builder, Graph, Node

Shape: TypeAlias = tuple[int, ...]

BATCHED = ("state", "input", "cotangent", "saved")
"""Placeholders with a value for each sample; all samples share a placeholder ``free``."""

STRUCTURAL = ("view", "copy", "contract", "sum", "amax", "cat", "pad", "fill", "take", "put")
"""Operations beside the pointwise ones.

``view``: a strided part of another node, value = (strides, offset). ``copy``: the same, laid out anew. ``contract``:
matrix product [..., i, k] x [..., k, j]. ``sum``, ``amax``: over the dimensions in value, which stay with size 1.
``cat``: along the dimension in value. ``pad``: 0, but for the part with value = (strides, offset), which is the
argument. ``fill``: a constant in every place. ``take``: for every place the one of the argument, counted in its order,
that is in value. ``put``: for every number of the argument, in order, the place in value to which it is added.
"""


class ShapeError(Exception):
    """Raised if an operation mixes the samples of a batch, or its shapes do not match."""


class TensorBuilder(Builder):
    """Builds a graph of tensors.

    A shape is that of one sample; the dimension of the batch has the size that one sample has there, usually 1.

    Attributes:
        shapes: the shape of each node.
        axes: the dimension of the batch in each node; None if all samples share the node.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[Shape] = []
        self.axes: list[int | None] = []

    def add(self, op: str, *arguments: int, value: Any = 0, shape: Shape | None = None, axis: int | None = None) -> int:
        """Return the position of a node like this one, which is added unless there is one."""
        if shape is None:
            shape, axis = self.broadcast(arguments) if op in OPERATIONS else ((), None)
        known = len(self.nodes)
        # Two nodes that differ in shape alone differ: the shape is part of what makes a node the same.
        structural = op in STRUCTURAL
        place = super().add(op, *arguments, value=(value, shape, axis) if structural else value)
        if place == known:
            self.shapes.append(shape)
            self.axes.append(axis)
        return place

    def apply(self, op: str, *arguments: int) -> int:
        """Add a pointwise operation, simplified where that changes neither value nor shape."""
        shape, _ = self.broadcast(arguments)
        constants = [self._as_constant(a) for a in arguments]
        if self.broadcast(constants)[0] == shape:
            arguments = tuple(constants)
        if shape and all(self.nodes[a].op in ("constant", "fill") for a in arguments):
            scalar = super().apply(op, *constants)
            if self.nodes[scalar].op == "constant":
                return self.fill(self.nodes[scalar].value, shape, self.broadcast(arguments)[1])
        simpler = self._simplify(op, arguments)
        if simpler is not None and self.shapes[simpler] == shape:
            return simpler
        return self.add(op, *arguments)

    def fill(self, value: float | bool, shape: Shape, axis: int | None) -> int:
        """Add a constant tensor."""
        return self.add("fill", value=float(value), shape=shape, axis=axis)

    def _as_constant(self, place: int) -> int:
        node = self.nodes[place]
        return self.constant(fill_value(node)) if node.op == "fill" else place

    def broadcast(self, arguments: Sequence[int]) -> tuple[Shape, int | None]:
        """Return the shape of the result of a pointwise operation, and the dimension of the batch."""
        dims = max((len(self.shapes[a]) for a in arguments), default=0)
        shape = [1] * dims
        axes = set()
        for a in arguments:
            lead = dims - len(self.shapes[a])
            axis = self.axes[a]
            if axis is not None:
                axes.add(axis + lead)
            for i, size in enumerate(self.shapes[a]):
                if size != 1:
                    if shape[lead + i] not in (1, size):
                        raise ShapeError(f"shapes {[self.shapes[b] for b in arguments]} do not fit together")
                    shape[lead + i] = size
        if len(axes) > 1:
            raise ShapeError("an operation on two tensors whose batches are in different dimensions")
        return tuple(shape), axes.pop() if axes else None

    def view(self, base: int, shape: Shape, strides: Shape, offset: int, axis: int | None) -> int:
        """Add a strided view of a contiguous node."""
        assert self.nodes[base].op != "view"
        whole = self.shapes[base]
        if (
            shape == whole
            and offset == 0
            and _are_equal_strides(strides, contiguous_strides(whole), shape)
            and axis == self.axes[base]
        ):
            return base
        return self.add("view", base, value=(strides, offset), shape=shape, axis=axis)

    def locate(self, place: int) -> tuple[int, Shape, int]:
        """The node in whose memory this one lies, its strides there and where it begins."""
        return _locate(self.nodes, self.shapes, place)

    def build_tensor_graph(self, outputs: Sequence[int]) -> "TensorGraph":
        """Return the graph of these results, without dead code."""
        return extract_graph(TensorGraph(tuple(self.nodes), tuple(self.shapes), ()), outputs)


class TensorGraph(Graph):
    """Nodes in the order of evaluation, their shapes, and the positions of the results."""

    def __init__(self, nodes: tuple[Any, ...], shapes: tuple[Shape, ...], outputs: tuple[int, ...]):
        super().__init__(nodes, outputs)
        object.__setattr__(self, "shapes", shapes)

    shapes: tuple[Shape, ...]

    def locate(self, place: int) -> tuple[int, Shape, int]:
        """The node in whose memory this one lies, its strides there and where it begins."""
        return _locate(self.nodes, self.shapes, place)


def _locate(nodes: Sequence[Node], shapes: Sequence[Shape], place: int) -> tuple[int, Shape, int]:
    node = nodes[place]
    if node.op == "view":
        strides, offset = structural_value(node)
        return node.arguments[0], strides, offset
    return place, contiguous_strides(shapes[place]), 0


def structural_value(node: Any) -> Any:
    """Return the value of a structural node, without its shape."""
    return node.value[0]


def fill_value(node: Any) -> float | bool:
    """Return the constant of a ``fill``."""
    return node.value[0]


def contiguous_strides(shape: Shape) -> Shape:
    """Return the strides of a contiguous tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _are_equal_strides(strides: Shape, others: Shape, shape: Shape) -> bool:
    return all(s == o or size == 1 for s, o, size in zip(strides, others, shape, strict=True))


def size_of(shape: Shape) -> int:
    """Return how many numbers a tensor of this shape has."""
    return math.prod(shape)


def find_needed(graph: TensorGraph, results: Sequence[int], stops: Callable[[int], bool]) -> set[int]:
    """Find the nodes that the results need, but not those that only nodes in ``stops`` need."""
    needed, open_ = set(results), list(results)
    while open_:
        i = open_.pop()
        if stops(i):
            continue
        for a in graph.nodes[i].arguments:
            if a not in needed:
                needed.add(a)
                open_.append(a)
    return needed


def extract_graph(graph: TensorGraph, outputs: Sequence[int], saved: dict[int, int] | None = None) -> TensorGraph:
    """Return the graph of some results; ``saved`` maps nodes to the numbers of placeholders that replace them."""
    saved = saved or {}
    kept = sorted(find_needed(graph, outputs, lambda i: i in saved))
    places = {old: new for new, old in enumerate(kept)}
    nodes = [
        Node("saved", (), saved[i])
        if i in saved
        else replace(graph.nodes[i], arguments=tuple(places[a] for a in graph.nodes[i].arguments))
        for i in kept
    ]
    return TensorGraph(tuple(nodes), tuple(graph.shapes[i] for i in kept), tuple(places[o] for o in outputs))
