"""Plans a time step: the order in which nodes are computed, and which of them share a loop."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan.pointwise_graph import Builder, Graph
from remanence.ops.scan.tensors.tensor_graph import (
    BATCHED,
    Shape,
    TensorGraph,
    contiguous_strides,
    fill_value,
    size_of,
    structural_value,
)


@dataclass(frozen=True)
class Access:
    """A strided access to the memory of a node.

    Attributes:
        node: the node.
        strides: the stride of each dimension of the loop.
        offset: the offset of the first number.
    """

    node: int
    strides: Shape
    offset: int = 0


@dataclass
class Loop:
    """Pointwise operations at every place of a shape, or their sum or maximum over some dimensions.

    Attributes:
        shape: the shape of the loop.
        body: the operations; their placeholders ``input`` are the loads.
        loads: accesses that read the operands.
        stores: accesses that write each output of the body.
        reduced: dimensions over which the outputs are reduced.
        reduction: ``sum`` or ``amax``.
    """

    shape: Shape
    body: Graph
    loads: tuple[Access, ...]
    stores: tuple[Access, ...]
    reduced: tuple[int, ...] = ()
    reduction: str = "sum"


@dataclass
class Product:
    """A matrix product.

    Attributes:
        left: access to the left factor, [groups, i, k].
        right: access to the right factor, [groups, k, j].
        out: access to the result, [groups, i, j].
        sizes: sizes of groups, i, k and j.
    """

    left: Access
    right: Access
    out: Access
    sizes: tuple[int, int, int, int]


@dataclass
class Move:
    """Numbers that change their places: ``target[targets[i]] = source[sources[i]]`` for every i.

    Attributes:
        source: node from whose memory the numbers are read.
        target: node to whose memory they are written.
        sources: places in the memory of ``source``.
        targets: places in the memory of ``target``.
        adds: whether they are added to the numbers that are there.
    """

    source: int
    target: int
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    adds: bool = False


@dataclass
class Plan:
    """The plan of one time step.

    Attributes:
        parts: the parts, in order.
        homes: the place of each node, in memory of its own or of another node.
        buffers: for each node with memory of its own, its size in numbers.
        first: for each of these nodes, the first part that writes it.
        last: for each of these nodes, the last part that reads or writes it.
    """

    parts: list[Loop | Product | Move] = field(default_factory=list)
    homes: dict[int, Access] = field(default_factory=dict)
    buffers: dict[int, int] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)

    def find_lifetimes(self) -> None:
        """Find the first and the last part that touches each node."""
        for number, part in enumerate(self.parts):
            for node in _find_touched(part):
                self.first.setdefault(node, number)
                self.last[node] = number


GIVEN = (*BATCHED, "free")


class Planner:
    """Makes a plan of a graph.

    Args:
        graph: the graph.
        required: nodes that must be in memory at the end.
    """

    def __init__(self, graph: TensorGraph, required: Iterable[int]):
        self.graph = graph
        self.required = set(required)
        self.plan = Plan()
        self._users = self._count_users()
        self._inlined = self._find_inlined()
        self._find_homes()

    def make(self) -> Plan:
        """Return the plan."""
        nodes = self.graph.nodes
        skipped = (*GIVEN, "view", "constant")
        done = {i for i, node in enumerate(nodes) if node.op in GIVEN}
        pending = [
            i
            for i, node in enumerate(nodes)
            if node.op not in skipped and i not in self._inlined and not self._is_literal(i)
        ]
        while pending:
            ready = [i for i in pending if nodes[i].op not in OPERATIONS and self._find_needs(i) <= done]
            if ready:
                for i in ready:
                    self._emit_structural(i)
                done |= set(ready)
                pending = [i for i in pending if i not in done]
                continue
            group = self._choose_group(pending, done)
            self._emit_group(group)
            done |= set(group)
            pending = [i for i in pending if i not in done]
        self.plan.find_lifetimes()
        return self.plan

    def _count_users(self) -> dict[int, list[int]]:
        users: dict[int, list[int]] = {i: [] for i in range(len(self.graph.nodes))}
        for i, node in enumerate(self.graph.nodes):
            for a in node.arguments:
                users[a].append(i)
        return users

    def _find_inlined(self) -> set[int]:
        """Find pointwise nodes that only one reduction uses, and that are computed inside of it."""
        found: set[int] = set()
        nodes = self.graph.nodes
        for i in reversed(range(len(nodes))):
            users = self._users[i]
            if nodes[i].op not in OPERATIONS or i in self.required or len(users) != 1:
                continue
            user = users[0]
            is_inner = user in found and self.graph.shapes[user] == self.graph.shapes[i]
            if nodes[user].op in ("sum", "amax") or is_inner:
                found.add(i)
        return found

    def _find_homes(self) -> None:
        """Find the place of each node: in memory of its own, or as a part of a ``cat``."""
        nodes, shapes = self.graph.nodes, self.graph.shapes
        for i in reversed(range(len(nodes))):
            node = nodes[i]
            if node.op in ("view", "constant") or i in self._inlined:
                continue
            if i not in self.plan.homes:
                self.plan.homes[i] = Access(i, contiguous_strides(shapes[i]))
                self.plan.buffers[i] = size_of(shapes[i])
            if node.op == "cat":
                self._place_parts(i)

    def _place_parts(self, i: int) -> None:
        """Place the arguments of a ``cat`` directly in its memory, unless they have another place."""
        node, home = self.graph.nodes[i], self.plan.homes[i]
        dim, start = structural_value(node), 0
        for a in node.arguments:
            length = self.graph.shapes[a][dim]
            fresh = self.graph.nodes[a].op in (*OPERATIONS, "contract", "sum", "amax", "copy", "fill")
            viewed = any(self.graph.nodes[user].op == "view" for user in self._users[a])
            if fresh and not viewed and a not in self.plan.homes and a not in self.required and a not in self._inlined:
                self.plan.homes[a] = Access(home.node, home.strides, home.offset + start * home.strides[dim])
            start += length

    def _is_literal(self, i: int) -> bool:
        """Return whether a node is written as a literal by all nodes that use it."""
        return (
            self.graph.nodes[i].op == "fill"
            and i not in self.required
            and all(self.graph.nodes[user].op in OPERATIONS for user in self._users[i])
        )

    def _find_needs(self, i: int) -> set[int]:
        """Return the nodes with memory that must be computed before this one."""
        needed: set[int] = set()
        for a in self.graph.nodes[i].arguments:
            node = self.graph.nodes[a]
            if node.op == "constant" or (node.op == "fill" and self.graph.nodes[i].op in OPERATIONS):
                continue
            if a in self._inlined:
                needed |= self._find_needs(a)
            else:
                needed.add(node.arguments[0] if node.op == "view" else a)
        return needed

    def _choose_group(self, pending: Sequence[int], done: set[int]) -> list[int]:
        """Return pointwise nodes of one shape that can be computed together now."""
        nodes, shapes = self.graph.nodes, self.graph.shapes
        group: list[int] = []
        shape: Shape | None = None
        for i in pending:
            if nodes[i].op not in OPERATIONS or (shape is not None and shapes[i] != shape):
                continue
            direct = {a for a in nodes[i].arguments if a in group}
            if all(n in done for n in self._find_needs(i) - direct) and not self._takes_view(i, group):
                group.append(i)
                shape = shapes[i]
        assert group, "a graph with a cycle"
        return group

    def _takes_view(self, i: int, group: Sequence[int]) -> bool:
        """Return whether a node uses a view of one of these."""
        nodes = self.graph.nodes
        return any(nodes[a].op == "view" and nodes[a].arguments[0] in group for a in nodes[i].arguments)

    def make_access(self, place: int, shape: Shape) -> Access:
        """Return how a loop over a shape reads a node."""
        base, strides, offset = self.graph.locate(place)
        home = self.plan.homes[base]
        if base != place:
            assert home.node == base
        else:
            strides, offset = home.strides, home.offset
        own = self.graph.shapes[place]
        lead = len(shape) - len(own)
        return Access(home.node, (*[0] * lead, *_loop_strides(own, strides)), offset)

    def _emit_group(self, group: Sequence[int]) -> None:
        shape = self.graph.shapes[group[0]]
        inside = frozenset(group)
        stored = [i for i in group if i in self.required or any(u not in inside for u in self._users[i])]
        builder = _BodyBuilder(self, shape, inside)
        places = [builder.add_real_member(i) for i in stored]
        stores = tuple(self._make_store(i, shape) for i in stored)
        self.plan.parts.append(Loop(shape, builder.build_graph(places), tuple(builder.loads), stores))

    def _make_store(self, i: int, shape: Shape) -> Access:
        home = self.plan.homes[i]
        return Access(home.node, _loop_strides(shape, home.strides), home.offset)

    def _emit_structural(self, i: int) -> None:
        node, shape = self.graph.nodes[i], self.graph.shapes[i]
        if node.op == "contract":
            self._emit_product(i)
        elif node.op in ("sum", "amax"):
            (argument,) = node.arguments
            whole = self.graph.shapes[argument]
            builder = _BodyBuilder(self, whole)
            place = builder.add_reduced(argument)
            body = builder.build_graph([place])
            self.plan.parts.append(
                Loop(whole, body, tuple(builder.loads), (self._make_store(i, shape),), structural_value(node), node.op)
            )
        elif node.op == "copy":
            self._emit_copy(node.arguments[0], self._make_store(i, shape))
        elif node.op == "fill":
            self._emit_fill(fill_value(node), shape, self._make_store(i, shape))
        elif node.op == "cat":
            self._emit_cat(i)
        elif node.op == "take":
            source, places = self._find_places(node.arguments[0])
            taken = tuple(places[k] for k in structural_value(node))
            self.plan.parts.append(Move(source, i, taken, tuple(range(len(taken)))))
        elif node.op == "put":
            source, places = self._find_places(node.arguments[0])
            self._emit_fill(0.0, shape, self._make_store(i, shape))
            self.plan.parts.append(Move(source, i, places, structural_value(node), adds=True))
        elif node.op == "pad":
            strides, offset = structural_value(node)
            self._emit_fill(0.0, shape, self._make_store(i, shape))
            part = self.graph.shapes[node.arguments[0]]
            self._emit_copy(node.arguments[0], Access(i, _loop_strides(part, strides), offset))
        else:
            raise AssertionError(node.op)

    def _find_places(self, place: int) -> tuple[int, tuple[int, ...]]:
        """Return the node whose memory contains a node, and the places of all its numbers there."""
        shape = self.graph.shapes[place]
        access = self.make_access(place, shape)
        return access.node, tuple(_compute_offsets(shape, access).tolist())

    def _emit_copy(self, place: int, target: Access) -> None:
        shape = self.graph.shapes[place]
        builder = _BodyBuilder(self, shape)
        body = builder.build_graph([builder.add_load(place)])
        self.plan.parts.append(Loop(shape, body, tuple(builder.loads), (target,)))

    def _emit_fill(self, value: float | bool, shape: Shape, target: Access) -> None:
        builder = Builder()
        body = builder.build_graph([builder.constant(float(value))])
        self.plan.parts.append(Loop(shape, body, (), (target,)))

    def _emit_cat(self, i: int) -> None:
        node, home = self.graph.nodes[i], self.plan.homes[i]
        dim, start = structural_value(node), 0
        for a in node.arguments:
            part = self.graph.shapes[a]
            target = Access(home.node, home.strides, home.offset + start * home.strides[dim])
            if self.plan.homes.get(a) != target:
                self._emit_copy(a, Access(target.node, _loop_strides(part, home.strides), target.offset))
            start += part[dim]

    def _emit_product(self, i: int) -> None:
        left, right = self.graph.nodes[i].arguments
        a, b = self.graph.shapes[left], self.graph.shapes[right]
        groups = size_of(a[:-2])
        sizes = (groups, a[-2], a[-1], b[-1])
        home = self.plan.homes[i]
        out = home.strides if len(home.strides) == 3 else (0, *home.strides)
        self.plan.parts.append(
            Product(
                self.make_access(left, (groups, *a[-2:])),
                self.make_access(right, (groups, *b[-2:])),
                Access(home.node, out, home.offset),
                sizes,
            )
        )


def _find_touched(part: Loop | Product | Move) -> tuple[int, ...]:
    """Return the nodes whose memory a part reads or writes."""
    if isinstance(part, Move):
        return part.source, part.target
    accesses = (part.left, part.right, part.out) if isinstance(part, Product) else (*part.loads, *part.stores)
    return tuple(access.node for access in accesses)


def _compute_offsets(shape: Shape, access: Access) -> np.ndarray:
    offsets = np.full(1, access.offset)
    for size, stride in zip(shape, access.strides, strict=True):
        offsets = (offsets[:, None] + stride * np.arange(size)).reshape(-1)
    return offsets


def _loop_strides(shape: Shape, strides: Shape) -> Shape:
    """Return the strides of a loop: 0 along dimensions of size 1."""
    return tuple(0 if size == 1 else stride for size, stride in zip(shape, strides, strict=True))


class _BodyBuilder(Builder):
    """Builds the graph that one loop computes at each place."""

    def __init__(self, planner: Planner, shape: Shape, group: frozenset[int] = frozenset()):
        super().__init__()
        self.planner, self.shape, self.group = planner, shape, group
        self.loads: list[Access] = []
        self._members: dict[int, int] = {}

    def add_real_member(self, i: int) -> int:
        """Add a node of the loop, as a number."""
        return self._convert_to_real(self.add_member(i))

    def _convert_to_real(self, place: int) -> int:
        if self.nodes[place].kind == "real":
            return place
        return self.apply("where", place, self.constant(1.0), self.constant(0.0))

    def add_member(self, i: int) -> int:
        """Add a pointwise node that this loop computes."""
        if i not in self._members:
            node = self.planner.graph.nodes[i]
            self._members[i] = self.apply(node.op, *(self._add_operand(a) for a in node.arguments))
        return self._members[i]

    def add_reduced(self, i: int) -> int:
        """Add the argument of a reduction."""
        return self.add_real_member(i) if i in self.planner._inlined else self._convert_to_real(self.add_load(i))

    def _add_operand(self, a: int) -> int:
        planner = self.planner
        node = planner.graph.nodes[a]
        if node.op == "constant":
            return self.constant(node.value)
        if node.op == "fill":
            return self.constant(fill_value(node))
        return self.add_member(a) if a in self.group or a in planner._inlined else self.add_load(a)

    def add_load(self, a: int) -> int:
        """Add the load of a node; truth values are stored as 1 and 0."""
        access = self.planner.make_access(a, self.shape)
        if access not in self.loads:
            self.loads.append(access)
        number = self.add("input", value=self.loads.index(access))
        is_truth = self.planner.graph.nodes[a].kind == "boolean"
        return self.apply("ne", number, self.constant(0.0)) if is_truth else number
