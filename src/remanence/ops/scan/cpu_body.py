"""Writes the operations of a graph as lines of a kernel."""

import math
from collections.abc import Iterable

from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan.pointwise_graph import Builder, Graph, Node

LETTERS = {"state": "h", "input": "x", "param": "p", "cotangent": "g"}


class Body:
    """The operations of a graph as assignments: those that depend on parameters alone, and those of every step.

    Args:
        graph: the graph to compute.
        sums: results that are only added up over time; see :meth:`added`.
        letter: first letter of the names of variables.
    """

    def __init__(self, graph: Graph, sums: Iterable[int] = (), letter: str = "v"):
        self.graph, self._letter = graph, letter
        self._uses = _count_uses(graph)
        self._constant: set[int] = set()
        for position, node in enumerate(graph.nodes):
            if node.op in ("constant", "param") or (node.arguments and self._constant.issuperset(node.arguments)):
                self._constant.add(position)
        inside = {a for node in graph.nodes if (a := self._find_product(node)) is not None}
        inside |= {position for total in sums for position in self._find_summands(total)}
        self.once: list[str] = []
        self.every_step: list[str] = []
        for position, node in enumerate(graph.nodes):
            if node.arguments and position not in inside:
                lines = self.once if position in self._constant else self.every_step
                lines.append(f"{letter}{position} = {self._write_expression(node)}")

    def write_addition(self, total: str, position: int) -> list[str]:
        """Write the addition of a value to a total; terms and products that nothing else uses are added directly."""
        node = self.graph.nodes[position]
        if self._uses[position] == 1 and node.op == "add":
            return [line for term in node.arguments for line in self.write_addition(total, term)]
        if self._uses[position] == 1 and node.op == "mul":
            left, right = (self.operand(a) for a in node.arguments)
            return [f"{total} = muladd({left}, {right}, {total})"]
        return [f"{total} = {total} + {self.operand(position)}"]

    def _find_summands(self, position: int) -> set[int]:
        """The operations that :meth:`added` takes in."""
        node = self.graph.nodes[position]
        if self._uses[position] != 1 or node.op not in ("add", "mul"):
            return set()
        terms = node.arguments if node.op == "add" else ()
        return {position}.union(*(self._find_summands(term) for term in terms))

    def operand(self, position: int) -> str:
        """Return how later lines refer to a value: a name or a number."""
        node = self.graph.nodes[position]
        if node.op == "constant":
            return _format_literal(node.value)
        return f"{LETTERS[node.op]}{int(node.value)}" if node.op in LETTERS else f"{self._letter}{position}"

    def vector(self, position: int) -> str:
        """Return the operand as a vector, even if it is a constant."""
        node = self.graph.nodes[position]
        return f"lanes({_format_literal(node.value)})" if node.op == "constant" else self.operand(position)

    def _find_product(self, node: Node) -> int | None:
        """Return the product that an addition can absorb: nothing else uses it, and the other term is not a product.

        So the difference of two equal products stays exactly 0. A product of constants alone counts as a term.
        """
        if node.op not in ("add", "sub"):
            return None
        products = [a for a in node.arguments if self.graph.nodes[a].op == "mul" and a not in self._constant]
        return products[0] if len(products) == 1 and self._uses[products[0]] == 1 else None

    def _write_expression(self, node: Node) -> str:
        product = self._find_product(node)
        if product is not None:
            return self._write_muladd(node, product)
        nodes = self.graph.nodes
        operands = [self.operand(a) for a in node.arguments]
        if all(nodes[a].op == "constant" for a in node.arguments):
            wrap = "truth" if isinstance(nodes[node.arguments[0]].value, bool) else "lanes"
            operands[0] = f"{wrap}({operands[0]})"
        if node.op == "where" and all(nodes[a].op == "constant" for a in node.arguments[1:]):
            operands[1] = f"lanes({operands[1]})"
        sign = OPERATIONS[node.op].sign
        if sign is not None:
            return f"{operands[0]} {sign} {operands[1]}" if len(operands) == 2 else f"{sign}{operands[0]}"
        return f"{node.op}({', '.join(operands)})"

    def _write_muladd(self, node: Node, product: int) -> str:
        left, right = (self.operand(a) for a in self.graph.nodes[product].arguments)
        first, second = node.arguments
        if node.op == "add":
            return f"muladd({left}, {right}, {self.operand(second if first == product else first)})"
        if first == product:
            other = self.graph.nodes[second]
            term = _format_literal(-other.value) if other.op == "constant" else f"-{self.operand(second)}"
            return f"muladd({left}, {right}, {term})"
        return f"muladd(-{left}, {right}, {self.operand(first)})"


def merge_divisions(graph: Graph) -> Graph:
    """Rewrite -g ((n / d) / d), autograd's gradient of a division, as -(g / d) (n / d), where g / d already exists."""
    builder = Builder()
    places: list[int] = []
    for node in graph.nodes:
        arguments = tuple(places[a] for a in node.arguments)
        left, right = (builder.nodes[a] for a in arguments) if node.op == "mul" else (node, node)
        if left.op == "neg" and right.op == "div":
            quotient, divisor = builder.nodes[right.arguments[0]], right.arguments[1]
            if quotient.op == "div" and quotient.arguments[1] == divisor:
                shared = builder.add("div", left.arguments[0], divisor)
                places.append(builder.add("neg", builder.add("mul", shared, right.arguments[0])))
                continue
        places.append(builder.add(node.op, *arguments, value=node.value))
    return builder.build_graph([places[output] for output in graph.outputs])


def _count_uses(graph: Graph) -> list[int]:
    uses = [0] * len(graph.nodes)
    for position in (*(a for node in graph.nodes for a in node.arguments), *graph.outputs):
        uses[position] += 1
    return uses


def _format_literal(value: float | bool) -> str:
    if isinstance(value, bool) or math.isfinite(value):
        return repr(value)
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
