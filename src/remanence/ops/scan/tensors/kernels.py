"""Compiles the kernels of a step on tensors."""

from dataclasses import dataclass

import torch

from remanence._kernels import kernel
from remanence._kernels.launch import BITS
from remanence.ops.scan.tensors import cpu_source
from remanence.ops.scan.tensors.cpu_source import TensorSource
from remanence.ops.scan.tensors.tensor_graph import TensorGraph, extract_graph, find_needed
from remanence.ops.scan.tensors.tensor_trace import Total, TracedTensorStep


@dataclass(frozen=True)
class CompiledStep:
    """A compiled kernel.

    Attributes:
        source: its source.
        graph: the graph that it computes.
        kernel: machine code.
        lanes: number of samples in a block.
        totals: the totals that it adds up, with nodes of its graph.
    """

    source: TensorSource
    graph: TensorGraph
    kernel: kernel.Kernel
    lanes: int
    totals: tuple[Total, ...] = ()


def choose_block_width(dtype: torch.dtype, batch: int, threads: int) -> int:
    """Return how many samples a block has: two registers if that leaves a block for every thread."""
    register = kernel.vector_width(BITS[dtype])
    return 2 * register if batch > register * threads else register


def choose_product_block(dtype: torch.dtype, lanes: int) -> int:
    """Return how many results of a product are computed together: as many as leave registers for the factors."""
    width = kernel.vector_width(BITS[dtype])
    registers = 32 if width * BITS[dtype] == 512 else 16
    return (registers - 3) // (lanes // width) - (registers == 16 and lanes == width)


def compile_forward(traced: TracedTensorStep, lanes: int) -> CompiledStep:
    """Compile the forward kernel for a call without a backward pass."""
    key = ("forward", lanes)
    if key not in traced.kernels:
        graph, frees = traced.forward.graph, len(traced.forward.free)
        traced.kernels[key] = _compile(_forward_source(graph, frees, (), traced, lanes), graph, traced, lanes)
    return traced.kernels[key]


def compile_both(traced: TracedTensorStep, lanes: int) -> tuple[CompiledStep, CompiledStep]:
    """Compile the forward kernel that saves nodes for the backward pass, and the backward kernel."""
    key = ("both", lanes)
    if key not in traced.kernels:
        traced.kernels[key] = _build_both(traced, lanes)
    return traced.kernels[key]


def _build_both(traced: TracedTensorStep, lanes: int) -> tuple[CompiledStep, CompiledStep]:
    recorded = traced.backward
    states, inputs = traced.counts[0], traced.counts[1]
    graph = recorded.graph
    new, rest = graph.outputs[:states], graph.outputs[states:]
    kept = _choose_saved(graph, rest)
    there = extract_graph(graph, (*new, *kept))
    back = extract_graph(graph, rest, dict(zip(kept, range(len(kept)), strict=True)))
    frees = len(recorded.free)
    saved_there = there.outputs[states:]
    forward = _forward_source(there, frees, saved_there, traced, lanes)
    places = iter(back.outputs[states + inputs :])
    totals = tuple(Total(next(places), None if t.right is None else next(places)) for t in recorded.totals)
    sums = tuple(dict.fromkeys(t.left for t in totals if t.right is None))
    operands = tuple(dict.fromkeys(x for t in totals if t.right is not None for x in (t.left, t.right)))
    numbered = {int(node.value): i for i, node in enumerate(back.nodes) if node.op == "saved"}
    saved_back = [numbered[number] for number in sorted(numbered)]
    results = TensorGraph(back.nodes, back.shapes, back.outputs[: states + inputs])
    block = choose_product_block(traced.dtype, lanes)
    source = cpu_source.backward(results, states, frees, saved_back, sums, operands, lanes, block)
    return _compile(forward, there, traced, lanes), _compile(source, results, traced, lanes, totals)


def _forward_source(
    graph: TensorGraph, frees: int, saved: tuple[int, ...], traced: TracedTensorStep, lanes: int
) -> TensorSource:
    return cpu_source.forward(graph, traced.counts[0], frees, saved, lanes, choose_product_block(traced.dtype, lanes))


def _compile(
    source: TensorSource, graph: TensorGraph, traced: TracedTensorStep, lanes: int, totals: tuple[Total, ...] = ()
) -> CompiledStep:
    return CompiledStep(source, graph, kernel.build(source, BITS[traced.dtype], lanes), lanes, totals)


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
