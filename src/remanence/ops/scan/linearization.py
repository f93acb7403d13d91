"""The linearization of a step: new states and their Jacobian as one graph, built from vector-Jacobian products."""

from dataclasses import dataclass

from remanence.ops.scan.pointwise_graph import Builder, Graph, Node, eliminate_dead_code
from remanence.ops.scan.trace import TracedStep

BLOCKS_UP_TO = 4
"""Up to this many states, the search for a trajectory uses the whole Jacobian instead of its diagonal."""


@dataclass(frozen=True)
class Linearization:
    """A step and its derivative.

    Attributes:
        graph: the new states, then the Jacobian row by row, or only its diagonal.
        diagonal: whether the graph contains only the diagonal.
    """

    graph: Graph
    diagonal: bool


def linearize_for_search(traced: TracedStep) -> Linearization:
    """Linearize for the search: with more than :data:`BLOCKS_UP_TO` states only the diagonal (quasi-Newton)."""
    key = ("jacobian", "approximate")
    if key not in traced.kernels:
        whole = linearize(traced)
        cut = traced.counts[0] > BLOCKS_UP_TO and not whole.diagonal
        traced.kernels[key] = Linearization(_keep_diagonal(whole.graph, traced.counts[0]), True) if cut else whole
    return traced.kernels[key]


def linearize(traced: TracedStep) -> Linearization:
    """Linearize exactly: the whole Jacobian, or its diagonal if all other entries are zero.

    Row i is the vector-Jacobian product of a cotangent that is one for state i and zero elsewhere. With these constants
    most of the graph folds away, and common subexpressions of the rows and the step are computed once.
    """
    key = ("jacobian", "exact")
    if key not in traced.kernels:
        states = traced.counts[0]
        vjp = traced.vjp((False,) * sum(traced.counts))
        builder = Builder()
        outputs = _copy(traced.forward, builder, [])
        for row in range(states):
            outputs += _copy(vjp, builder, [float(state == row) for state in range(states)])
        graph = builder.build_graph(outputs)
        others = (graph.outputs[states + i * states + j] for i in range(states) for j in range(states) if i != j)
        diagonal = all(_is_zero(graph.nodes[place]) for place in others)
        traced.kernels[key] = Linearization(_keep_diagonal(graph, states) if diagonal else graph, diagonal)
    return traced.kernels[key]


LINEAR = ("add", "sub", "neg")
"""Operations that are linear in all their operands together."""

LINEAR_IN = {"mul": (0, 1), "div": (0,), "where": (1, 2)}
"""Operations that are linear in these operands as long as the others do not depend on the state."""


def is_linear(traced: TracedStep) -> bool:
    """Return whether the new state is ``A s + b`` for a state s, with A and b of inputs and params alone."""
    if "linear" not in traced.kernels:
        nodes = traced.forward.nodes
        depends: list[bool] = []
        for node in nodes:
            depends.append(node.op == "state" or any(depends[argument] for argument in node.arguments))
        traced.kernels["linear"] = all(_is_linear_in(node, depends) for node in nodes)
    return traced.kernels["linear"]


def _is_linear_in(node: Node, depends: list[bool]) -> bool:
    """Return whether a node is linear in those of its operands that depend on the state."""
    places = [place for place, argument in enumerate(node.arguments) if depends[argument]]
    if not places or node.op in LINEAR:
        return True
    allowed = LINEAR_IN.get(node.op, ())
    return all(place in allowed for place in places) and (node.op == "where" or len(places) == 1)


def _keep_diagonal(graph: Graph, states: int) -> Graph:
    """Drop all but the diagonal of the Jacobian."""
    diagonal = graph.outputs[states :: states + 1]
    return eliminate_dead_code(Graph(graph.nodes, graph.outputs[:states] + diagonal))


def _copy(graph: Graph, builder: Builder, cotangents: list[float]) -> list[int]:
    """Copy a graph into a builder with constant cotangents; return the positions of its results there."""
    places: list[int] = []
    for node in graph.nodes:
        if node.op == "cotangent":
            places.append(builder.constant(cotangents[int(node.value)]))
        elif node.arguments:
            places.append(_apply(builder, node.op, *(places[argument] for argument in node.arguments)))
        else:
            places.append(builder.add(node.op, value=node.value))
    return [places[output] for output in graph.outputs]


def _apply(builder: Builder, op: str, *arguments: int) -> int:
    """Add an operation; a derivative that is zero stays zero whatever it is multiplied by, infinity included."""
    zeros = [_is_zero(builder.nodes[argument]) for argument in arguments]
    if (op == "mul" and any(zeros)) or (op == "div" and zeros[0] and not zeros[1]):
        return builder.constant(0.0)
    if op == "sub" and zeros[0]:
        return builder.apply("neg", arguments[1])
    return builder.apply(op, *arguments)


def _is_zero(node: Node) -> bool:
    return node.op == "constant" and node.kind == "real" and node.value == 0
