"""A traced step as the source of two Numba functions: the loop over time, and the loop back.

A kernel works on blocks of ``LANES`` channels of one sample: it keeps their states in vector registers over the whole
sequence. Names: ``x`` inputs, ``h`` states, ``p`` parameters, ``y`` states over time, ``g`` gradients of states, and
``d`` before what a gradient is written for; ``at`` is an address, ``sample`` and ``step`` are distances in bytes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from remanence.scan.graph import Graph, Node
from remanence.scan.trace import TracedStep

SIGNS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
    "and": "&",
    "or": "|",
    "xor": "^",
}
PREFIXES = {"neg": "-", "not": "~"}
LETTERS = {"state": "h", "input": "x", "param": "p", "cotangent": "g"}


@dataclass(frozen=True)
class Source:
    """A function to be compiled.

    Attributes:
        text: Python, of one function called ``kernel``.
        arguments: the names of its arguments, all of them integers; ``part``, ``begin`` and ``end`` come first.
    """

    text: str
    arguments: tuple[str, ...]


def forward(traced: TracedStep) -> Source:
    """States after every step."""
    graph = traced.forward
    states = range(traced.counts[0])
    body = _Body(graph)
    used = sorted(graph.uses("input"))
    arguments = [*_head(), *_places((f"x{i}" for i in used), "sample", "step")]
    arguments += [*_places((f"h{i}" for i in states), "sample")]
    arguments += [*_places(f"p{i}" for i in sorted(graph.uses("param"))), *_places(f"y{i}" for i in states)]
    lines = [
        *_blocks(),
        *_load_params(graph),
        *(f"h{i} = load(h{i}_at + sample * h{i}_sample + offset, inside)" for i in states),
        *body.once,
        "for t in range(time):",
        *_indented(
            [
                *(_load_step(f"x{i}") for i in used),
                *body.every_step,
                *(f"new{i} = {body.vector(output)}" for i, output in enumerate(graph.outputs)),
                *(f"h{i} = new{i}" for i in states),
                *(f"store(y{i}_at + (sample * time + t) * row + offset, h{i}, inside)" for i in states),
            ]
        ),
    ]
    return _source("forward", arguments, lines)


def backward(traced: TracedStep, needs: Sequence[bool]) -> Source:
    """Gradients of the states before, then of the inputs and the parameters that need one."""
    states, inputs, _ = traced.counts
    graph = traced.vjp(tuple(needs))
    body = _Body(graph)
    wanted = [place for place, need in enumerate(needs) if need and place >= states]
    targets = [f"x{place - states}" if place < states + inputs else f"p{place - states - inputs}" for place in wanted]
    results = dict(zip(targets, graph.outputs[states:], strict=True))
    of_inputs = [name for name in targets if name[0] == "x"]
    of_params = [name for name in targets if name[0] == "p"]
    used, before = sorted(graph.uses("input")), sorted(graph.uses("state"))
    arguments = [*_head(), *_places((f"x{i}" for i in used), "sample", "step")]
    arguments += [*_places((f"h{i}" for i in before), "sample"), *_places(f"p{i}" for i in sorted(graph.uses("param")))]
    arguments += [*_places(f"y{i}" for i in before)]
    arguments += [*_places((f"gy{i}" for i in range(states)), "sample", "step")]
    arguments += [*_places((f"g{i}" for i in range(states)), "sample")]
    arguments += [*_places(f"dh{i}" for i in range(states)), *_places(f"d{name}" for name in of_inputs)]
    arguments += [*_places(f"d{name}" for name in of_params)]
    lines = [
        *_blocks(),
        *_load_params(graph),
        *(f"g{i} = load(g{i}_at + sample * g{i}_sample + offset, inside)" for i in range(states)),
        *(f"d{name} = load(d{name}_at + part * row + offset, inside)" for name in of_params),
        *body.once,
        "for back in range(time):",
        *_indented(
            [
                "t = time - 1 - back",
                *(_load_step(f"x{i}") for i in used),
                *(line for i in before for line in _load_state_before(i)),
                *(_load_step(f"gy{i}") for i in range(states)),
                *(f"g{i} = g{i} + gy{i}" for i in range(states)),
                *body.every_step,
                *(f"d{name} = d{name} + {body.operand(results[name])}" for name in of_params),
                *(
                    f"store(d{name}_at + (sample * time + t) * row + offset, {body.vector(results[name])}, inside)"
                    for name in of_inputs
                ),
                *(f"new{i} = {body.vector(output)}" for i, output in enumerate(graph.outputs[:states])),
                *(f"g{i} = new{i}" for i in range(states)),
            ]
        ),
        *(f"store(dh{i}_at + sample * row + offset, g{i}, inside)" for i in range(states)),
        *(f"store(d{name}_at + part * row + offset, d{name}, inside)" for name in of_params),
    ]
    return _source("backward", arguments, lines)


def _head() -> list[str]:
    return ["part", "begin", "end", "blocks", "time", "channels"]


def _places(names: Iterable[str], *strides: str) -> list[str]:
    """Address and strides of tensors, as arguments."""
    return [f"{name}_{what}" for name in names for what in ("at", *strides)]


def _blocks() -> list[str]:
    """Where a block of lanes begins."""
    return [
        "sample = unit // blocks",
        "lane = (unit - sample * blocks) * LANES",
        "inside = first(channels - lane)",
        "offset = lane * SIZE",
    ]


def _load_params(graph: Graph) -> list[str]:
    return [f"p{i} = load(p{i}_at + offset, inside)" for i in sorted(graph.uses("param"))]


def _load_step(name: str) -> str:
    return f"{name} = load({name}_at + sample * {name}_sample + t * {name}_step + offset, inside)"


def _load_state_before(i: int) -> list[str]:
    """The state before step t: the first one, or what the forward pass wrote."""
    return [
        f"before{i} = y{i}_at + (sample * time + t - 1) * row if t > 0 else h{i}_at + sample * h{i}_sample",
        f"h{i} = load(before{i} + offset, inside)",
    ]


def _source(name: str, arguments: list[str], unit: list[str]) -> Source:
    signature = ",\n    ".join(", ".join(arguments[i : i + 6]) for i in range(0, len(arguments), 6))
    lines = [
        "row = channels * SIZE",
        "for unit in range(begin, end):",
        *_indented(unit),
    ]
    text = f"def {name}(\n    {signature},\n):\n" + "\n".join(_indented(lines)) + "\n"
    return Source(text, tuple(arguments))


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


class _Body:
    """The operations of a graph as assignments: those of parameters alone, and those of every step."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self._uses = _count_uses(graph)
        self._fused = {a for node in graph.nodes if (a := self._factor(node)) is not None}
        self.once: list[str] = []
        self.every_step: list[str] = []
        constant: set[int] = set()
        for position, node in enumerate(graph.nodes):
            if node.op in ("constant", "param") or (node.arguments and constant.issuperset(node.arguments)):
                constant.add(position)
            if node.arguments and position not in self._fused:
                lines = self.once if position in constant else self.every_step
                lines.append(f"v{position} = {self._expression(node)}")

    def operand(self, position: int) -> str:
        """How later lines write this value: a name or a number."""
        node = self.graph.nodes[position]
        if node.op == "constant":
            return _literal(node.value)
        return f"{LETTERS[node.op]}{int(node.value)}" if node.op in LETTERS else f"v{position}"

    def vector(self, position: int) -> str:
        """The same, as a vector even if it is a constant."""
        node = self.graph.nodes[position]
        return f"lanes({_literal(node.value)})" if node.op == "constant" else self.operand(position)

    def _factor(self, node: Node) -> int | None:
        """The product that an addition takes in, if nothing else needs it and the other term is no product too.

        The difference of two equal products stays exactly 0 this way.
        """
        if node.op not in ("add", "sub"):
            return None
        products = [a for a in node.arguments if self.graph.nodes[a].op == "mul"]
        return products[0] if len(products) == 1 and self._uses[products[0]] == 1 else None

    def _expression(self, node: Node) -> str:
        product = self._factor(node)
        if product is not None:
            return self._muladd(node, product)
        nodes = self.graph.nodes
        operands = [self.operand(a) for a in node.arguments]
        if all(nodes[a].op == "constant" for a in node.arguments):
            wrap = "truth" if isinstance(nodes[node.arguments[0]].value, bool) else "lanes"
            operands[0] = f"{wrap}({operands[0]})"
        if node.op in SIGNS:
            return f"{operands[0]} {SIGNS[node.op]} {operands[1]}"
        if node.op in PREFIXES:
            return f"{PREFIXES[node.op]}{operands[0]}"
        return f"{node.op}({', '.join(operands)})"

    def _muladd(self, node: Node, product: int) -> str:
        left, right = (self.operand(a) for a in self.graph.nodes[product].arguments)
        first, second = node.arguments
        if node.op == "add":
            return f"muladd({left}, {right}, {self.operand(second if first == product else first)})"
        if first == product:
            other = self.graph.nodes[second]
            term = _literal(-other.value) if other.op == "constant" else f"-{self.operand(second)}"
            return f"muladd({left}, {right}, {term})"
        return f"muladd(-{left}, {right}, {self.operand(first)})"


def _count_uses(graph: Graph) -> list[int]:
    uses = [0] * len(graph.nodes)
    for position in (*(a for node in graph.nodes for a in node.arguments), *graph.outputs):
        uses[position] += 1
    return uses


def _literal(value: float | bool) -> str:
    if isinstance(value, bool) or math.isfinite(value):
        return repr(value)
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
