"""The two passes over time of a step on tensors, as graphs that every backend computes."""

from dataclasses import dataclass

from remanence.ops.scan.tensors.tensor_graph import TensorGraph, extract_graph, find_needed
from remanence.ops.scan.tensors.tensor_trace import Total, TracedTensorStep


@dataclass(frozen=True)
class ForwardPass:
    """The states after every step.

    Attributes:
        graph: graph of a step; its outputs are the new states, then the nodes saved for the backward pass.
        states: number of states.
        frees: number of tensors that all samples share.
        saved: nodes that are saved for the backward pass.
    """

    graph: TensorGraph
    states: int
    frees: int
    saved: tuple[int, ...] = ()

    @property
    def new(self) -> tuple[int, ...]:
        """The new states."""
        return self.graph.outputs[: self.states]


@dataclass(frozen=True)
class BackwardPass:
    """The gradients of states and inputs, and the totals that give those of the params.

    Attributes:
        graph: graph of a step; its outputs are the gradients of the states, then those of the inputs.
        states: number of states.
        frees: number of tensors that all samples share.
        saved: nodes that the forward pass has saved, in the order of its ``saved``.
        totals: sums over batch and time, with nodes of the graph.
    """

    graph: TensorGraph
    states: int
    frees: int
    saved: tuple[int, ...]
    totals: tuple[Total, ...]

    @property
    def sums(self) -> tuple[int, ...]:
        """The nodes that are added up over all steps."""
        return tuple(dict.fromkeys(t.left for t in self.totals if t.right is None))

    @property
    def factors(self) -> tuple[int, ...]:
        """The factors of products that are added up; they are stored at every step."""
        pairs = (t for t in self.totals if t.right is not None)
        return tuple(dict.fromkeys(x for t in pairs for x in (t.left, t.right) if x is not None))


def make_forward(traced: TracedTensorStep) -> ForwardPass:
    """Return the forward pass of a call without a backward pass."""
    return ForwardPass(traced.forward.graph, traced.counts[0], len(traced.forward.free))


def make_both(traced: TracedTensorStep) -> tuple[ForwardPass, BackwardPass]:
    """Return the forward pass that saves nodes for the backward pass, and the backward pass."""
    recorded = traced.backward
    states, inputs, frees = traced.counts[0], traced.counts[1], len(recorded.free)
    graph = recorded.graph
    new, rest = graph.outputs[:states], graph.outputs[states:]
    saved = _choose_saved(graph, rest)
    there = extract_graph(graph, (*new, *saved))
    back = extract_graph(graph, rest, dict(zip(saved, range(len(saved)), strict=True)))
    places = iter(back.outputs[states + inputs :])
    totals = tuple(Total(next(places), None if t.right is None else next(places)) for t in recorded.totals)
    numbered = {int(node.value): i for i, node in enumerate(back.nodes) if node.op == "saved"}
    results = TensorGraph(back.nodes, back.shapes, back.outputs[: states + inputs])
    saved_back = tuple(numbered[number] for number in sorted(numbered))
    return (
        ForwardPass(there, states, frees, there.outputs[states:]),
        BackwardPass(results, states, frees, saved_back, totals),
    )


def _choose_saved(graph: TensorGraph, results: tuple[int, ...]) -> tuple[int, ...]:
    """Return the matrix products of the forward pass that the backward pass needs."""
    behind = _find_behind_cotangents(graph)
    needed = find_needed(graph, results, lambda i: i not in behind and graph.nodes[i].op == "contract")
    return tuple(i for i in sorted(needed) if i not in behind and graph.nodes[i].op == "contract")


def _find_behind_cotangents(graph: TensorGraph) -> set[int]:
    found: set[int] = set()
    for i, node in enumerate(graph.nodes):
        if node.op == "cotangent" or any(a in found for a in node.arguments):
            found.add(i)
    return found
