"""A traced step as the source of two Numba functions: the loop over time, and the loop back.

A kernel works on blocks of ``LANES`` channels of one sample: it keeps their states in vector registers over the whole
sequence. Names: ``x`` inputs, ``h`` states, ``p`` parameters, ``y`` states over time, ``g`` gradients of states, and
``d`` before what a gradient is written for; ``at`` is an address, ``sample`` and ``step`` are distances in bytes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from remanence.scan.graph import Builder, Graph, Node
from remanence.scan.sums import factored
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


HEAD = ("part", "begin", "end", "blocks", "time", "channels")
STRIDES = ("sample", "step")


@dataclass(frozen=True)
class Place:
    """A tensor that a kernel reads or writes.

    Attributes:
        group: what it is, by its letter: ``x``, ``h``, ``p``, ``y``, ``g``, ``gy``, ``dh``, ``dx`` or ``dp``.
        index: which one of these.
        strides: how many strides the kernel takes: none of the batch and the time if it lies in one piece.
    """

    group: str
    index: int
    strides: int

    @property
    def name(self) -> str:
        """As variables begin."""
        return f"{self.group}{self.index}"

    @property
    def arguments(self) -> list[str]:
        """Its address and strides."""
        return [f"{self.name}_{what}" for what in ("at", *STRIDES[: self.strides])]


@dataclass(frozen=True)
class Source:
    """A function to be compiled.

    Attributes:
        text: Python; all arguments are integers, those of :data:`HEAD` first.
        places: the tensors that follow, in this order.
    """

    text: str
    places: tuple[Place, ...]

    @property
    def arguments(self) -> list[str]:
        """Names, in order."""
        return [*HEAD, *(argument for place in self.places for argument in place.arguments)]


def forward(traced: TracedStep) -> Source:
    """States after every step."""
    graph = traced.forward
    body = Body(graph)
    states = range(traced.counts[0])
    inputs, params = sorted(graph.uses("input")), sorted(graph.uses("param"))
    places = [*_places("x", inputs, 2), *_places("h", states, 1), *_places("p", params), *_places("y", states)]
    step = [
        *(_load(f"x{i}", 2) for i in inputs),
        *body.every_step,
        *_next_states("h", body, graph.outputs),
        *(_store_step(f"y{i}", f"h{i}") for i in states),
    ]
    lines = [
        *(_load(f"p{i}") for i in params),
        *(_load(f"h{i}", 1) for i in states),
        *body.once,
        "for t in range(time):",
        *_indented(step),
    ]
    return _source("forward", places, lines)


def backward(traced: TracedStep, needs: Sequence[bool]) -> Source:
    """Gradients of the states before, then of the inputs and the parameters that need one."""
    count, input_count, _ = traced.counts
    sums = factored(with_fewer_divisions(traced.vjp(tuple(needs))), count + sum(needs[count : count + input_count]))
    graph = sums.graph
    states = range(count)
    inputs, params, before = (sorted(graph.uses(kind)) for kind in ("input", "param", "state"))
    of_inputs = [i for i, need in enumerate(needs[count : count + input_count]) if need]
    outputs = iter(graph.outputs[count:])
    input_grads = {f"dx{i}": next(outputs) for i in of_inputs}
    body = Body(graph, sums.terms)
    places = [*_places("x", inputs, 2), *_places("h", before, 1), *_places("p", params), *_places("y", before)]
    places += [*_places("gy", states, 2), *_places("g", states, 1), *_places("dh", states)]
    places += [*_places("dx", of_inputs, 2), *_places("dp", range(len(sums.totals)))]
    step = [
        "t = time - 1 - back",
        *(_load(f"x{i}", 2) for i in inputs),
        *(line for i in before for line in _load_state_before(i)),
        *(_load(f"gy{i}", 2) for i in states),
        *(f"g{i} = g{i} + gy{i}" for i in states),
        *body.every_step,
        *(line for i, term in enumerate(sums.terms) for line in body.added(f"sum{i}", term)),
        *(f"store({_at(name, 2)}, {body.vector(output)}, inside)" for name, output in input_grads.items()),
        *_next_states("g", body, graph.outputs[:count]),
    ]
    lines = [
        *(_load(f"p{i}") for i in params),
        *(_load(f"g{i}", 1) for i in states),
        *(f"sum{i} = lanes(0.0)" for i in range(len(sums.terms))),
        *body.once,
        "for back in range(time):",
        *_indented(step),
        *(f"store(dh{i}_at + sample * row + offset, g{i}, inside)" for i in states),
        *(line for i, total in enumerate(sums.totals) for line in _grown(f"dp{i}", total, body)),
    ]
    return _source("backward", places, lines)


def _places(group: str, indices: Iterable[int], strides: int = 0) -> list[Place]:
    return [Place(group, index, strides) for index in indices]


def _blocks() -> list[str]:
    """Where a block of lanes begins."""
    return [
        "sample = unit // blocks",
        "lane = (unit - sample * blocks) * LANES",
        "inside = first(channels - lane)",
        "offset = lane * SIZE",
    ]


def _at(name: str, strides: int) -> str:
    """Where the block of lanes of a tensor lies that has so many strides."""
    ways = (f"{name}_at", f"sample * {name}_sample", f"t * {name}_step")
    return f"{' + '.join(ways[: strides + 1])} + offset"


def _load(name: str, strides: int = 0) -> str:
    """One block of lanes of a tensor that has so many strides."""
    return f"{name} = load({_at(name, strides)}, inside)"


def _store_step(name: str, value: str) -> str:
    return f"store({name}_at + (sample * time + t) * row + offset, {value}, inside)"


def _load_state_before(i: int) -> list[str]:
    """The state before step t: the first one, or what the forward pass wrote."""
    return [
        f"before{i} = y{i}_at + (sample * time + t - 1) * row if t > 0 else h{i}_at + sample * h{i}_sample",
        f"h{i} = load(before{i} + offset, inside)",
    ]


def _grown(name: str, total: Iterable[tuple[int, int]], body: "Body") -> list[str]:
    """A gradient in memory, and what was added up for it: products of a factor and a sum."""
    at = f"{name}_at + part * row + offset"
    products = [f"{name} = muladd(sum{i}, {body.operand(factor)}, {name})" for factor, i in total]
    return [f"{name} = load({at}, inside)", *products, f"store({at}, {name}, inside)"]


def _next_states(letter: str, body: "Body", outputs: Sequence[int]) -> list[str]:
    """All of them computed before the first is replaced."""
    new = [f"new{i} = {body.vector(output)}" for i, output in enumerate(outputs)]
    return [*new, *(f"{letter}{i} = new{i}" for i in range(len(outputs)))]


def _source(name: str, places: list[Place], unit: list[str]) -> Source:
    signature = ",\n    ".join([", ".join(HEAD), *(", ".join(place.arguments) for place in places)])
    lines = ["row = channels * SIZE", "for unit in range(begin, end):", *_indented([*_blocks(), *unit])]
    return Source(f"def {name}(\n    {signature},\n):\n" + "\n".join(_indented(lines)) + "\n", tuple(places))


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


class Body:
    """The operations of a graph as assignments: those of parameters alone, and those of every step.

    Args:
        graph: what to compute.
        sums: results that are only ever added up; see :meth:`added`.
    """

    def __init__(self, graph: Graph, sums: Iterable[int] = ()):
        self.graph = graph
        self._uses = _count_uses(graph)
        self._constant: set[int] = set()
        for position, node in enumerate(graph.nodes):
            if node.op in ("constant", "param") or (node.arguments and self._constant.issuperset(node.arguments)):
                self._constant.add(position)
        inside = {a for node in graph.nodes if (a := self._factor(node)) is not None}
        inside |= {position for total in sums for position in self._inside_sum(total)}
        self.once: list[str] = []
        self.every_step: list[str] = []
        for position, node in enumerate(graph.nodes):
            if node.arguments and position not in inside:
                lines = self.once if position in self._constant else self.every_step
                lines.append(f"v{position} = {self._expression(node)}")

    def added(self, total: str, position: int) -> list[str]:
        """A value added to a total, term by term and products in one go, where nothing else needs the terms."""
        node = self.graph.nodes[position]
        if self._uses[position] == 1 and node.op == "add":
            return [line for term in node.arguments for line in self.added(total, term)]
        if self._uses[position] == 1 and node.op == "mul":
            left, right = (self.operand(a) for a in node.arguments)
            return [f"{total} = muladd({left}, {right}, {total})"]
        return [f"{total} = {total} + {self.operand(position)}"]

    def _inside_sum(self, position: int) -> set[int]:
        """The operations that :meth:`added` takes in."""
        node = self.graph.nodes[position]
        if self._uses[position] != 1 or node.op not in ("add", "mul"):
            return set()
        terms = node.arguments if node.op == "add" else ()
        return {position}.union(*(self._inside_sum(term) for term in terms))

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

        The difference of two equal products stays exactly 0 this way. A product that is computed once is a term.
        """
        if node.op not in ("add", "sub"):
            return None
        products = [a for a in node.arguments if self.graph.nodes[a].op == "mul" and a not in self._constant]
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
        if node.op == "where" and all(nodes[a].op == "constant" for a in node.arguments[1:]):
            operands[1] = f"lanes({operands[1]})"
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


def with_fewer_divisions(graph: Graph) -> Graph:
    """-g ((n / d) / d), autograd's gradient of a division, as -(g / d) (n / d): g / d is there already."""
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
    return builder.graph([places[output] for output in graph.outputs])


def _count_uses(graph: Graph) -> list[int]:
    uses = [0] * len(graph.nodes)
    for position in (*(a for node in graph.nodes for a in node.arguments), *graph.outputs):
        uses[position] += 1
    return uses


def _literal(value: float | bool) -> str:
    if isinstance(value, bool) or math.isfinite(value):
        return repr(value)
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
