"""Graphs of pointwise operations on an element (one channel of one sample), from which all backends generate code."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from remanence._kernels.operations import OPERATIONS

PLACEHOLDERS = ("state", "input", "param", "cotangent")
"""Nodes for values that a backend loads; ``Node.value`` is the index of the tensor."""

Value: TypeAlias = Any
"""A number or a truth value; for nodes that are not pointwise see :mod:`~remanence.ops.scan.tensors.tensor_graph`."""
Kind: TypeAlias = Literal["real", "boolean"]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: a placeholder, a ``constant``, or a name from :data:`remanence._kernels.operations.OPERATIONS`.

    Attributes:
        op: the operation.
        arguments: positions of earlier nodes.
        value: the index of a placeholder, or the value of a constant: a bool is a truth value, a float a number.
    """

    op: str
    arguments: tuple[int, ...] = ()
    value: Value = 0

    @property
    def kind(self) -> Kind:
        """Whether the result is a number or a truth value."""
        if self.op == "constant":
            return "boolean" if isinstance(self.value, bool) else "real"
        return "boolean" if self.op in OPERATIONS and OPERATIONS[self.op].is_boolean else "real"

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal nodes; repr distinguishes -0.0 from 0.0 and True from 1.0, and NaN equals itself."""
        return self.op, self.arguments, repr(self.value)


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of evaluation, and the positions of the results."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    def __str__(self) -> str:
        """Return the graph as text, which is the same in every process."""
        lines = []
        for position, node in enumerate(self.nodes):
            inside = ", ".join(f"%{argument}" for argument in node.arguments) or repr(node.value)
            lines.append(f"%{position} = {node.op}({inside})")
        return "\n".join([*lines, "return " + ", ".join(f"%{output}" for output in self.outputs)])

    def count_operations(self) -> int:
        """Return how many operations an element takes in one step, without placeholders and constants."""
        return sum(node.op not in (*PLACEHOLDERS, "constant") for node in self.nodes)

    @cached_property
    def last_used(self) -> tuple[tuple[int, ...], ...]:
        """For each node the arguments, except results, that no later node uses."""
        last = {argument: place for place, node in enumerate(self.nodes) for argument in node.arguments}
        done: list[list[int]] = [[] for _ in self.nodes]
        for argument, place in last.items():
            if argument not in self.outputs:
                done[place].append(argument)
        return tuple(map(tuple, done))

    def find_placeholders(self, kind: str) -> frozenset[int]:
        """Return the indices of the placeholders of a kind that the results depend on."""
        return frozenset(int(node.value) for node in self.nodes if node.op == kind)


class Builder:
    """Builds a graph; merges equal nodes and folds constants where that is exact."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[tuple[object, ...], int] = {}

    def add(self, op: str, *arguments: int, value: Value = 0) -> int:
        """Return the position of a node like this one, which is added unless there is one."""
        node = Node(op, arguments, value)
        if node.key not in self._known:
            self._known[node.key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[node.key]

    def constant(self, value: Value) -> int:
        """Add a number or a truth value."""
        return self.add("constant", value=value if isinstance(value, bool) else float(value))

    def apply(self, op: str, *arguments: int) -> int:
        """Add an operation, simplified if the result is the same bit for bit (except for the sign of zero)."""
        simpler = self._simplify(op, arguments)
        return self.add(op, *arguments) if simpler is None else simpler

    def _simplify(self, op: str, arguments: tuple[int, ...]) -> int | None:
        values = [self.nodes[a].value if self.nodes[a].op == "constant" else None for a in arguments]
        if op in ("add", "mul", "minimum", "maximum") and values[0] is not None and values[1] is None:
            return self.apply(op, arguments[1], arguments[0])  # constants to the right
        if op in ("add", "sub") and values[1] == 0:
            return arguments[0]
        if op in ("mul", "div") and values[1] == 1:
            return arguments[0]
        if op == "mul" and values[1] == -1:
            return self.apply("neg", arguments[0])
        if op == "neg":
            if values[0] is not None:
                return self.constant(-float(values[0]))
            inner = self.nodes[arguments[0]]
            return inner.arguments[0] if inner.op == "neg" else None
        if op == "where" and (values[0] is not None or arguments[1] == arguments[2]):
            return arguments[2] if values[0] is False else arguments[1]
        if op in ("add", "sub", "mul") and None not in values:
            left, right = (float(value) for value in values if value is not None)
            return self.constant(left + right if op == "add" else left - right if op == "sub" else left * right)
        if op == "pow" and values[1] is not None:
            return self._expand_power(arguments[0], float(values[1]))
        return None

    def _expand_power(self, base: int, exponent: float) -> int | None:
        if exponent == 0:
            return self.constant(1.0)
        if exponent < 0 and -exponent in (0.5, 1, 2, 3):
            positive = self._expand_power(base, -exponent)
            return None if positive is None else self.apply("div", self.constant(1.0), positive)
        if exponent == 0.5:
            return self.apply("sqrt", base)
        if exponent in (1, 2, 3):
            power = base
            for _ in range(int(exponent) - 1):
                power = self.apply("mul", power, base)
            return power
        return None

    def build_graph(self, outputs: Sequence[int]) -> Graph:
        """Return the graph of these results, without dead code."""
        return eliminate_dead_code(Graph(tuple(self.nodes), tuple(outputs)))


def eliminate_dead_code(graph: Graph) -> Graph:
    """Drop the nodes that no result needs; the others keep their order."""
    needed = set(graph.outputs)
    for position in range(len(graph.nodes) - 1, -1, -1):
        if position in needed:
            needed.update(graph.nodes[position].arguments)
    kept = sorted(needed)
    place = {old: new for new, old in enumerate(kept)}
    nodes = (replace(graph.nodes[old], arguments=tuple(place[a] for a in graph.nodes[old].arguments)) for old in kept)
    return Graph(tuple(nodes), tuple(place[output] for output in graph.outputs))
