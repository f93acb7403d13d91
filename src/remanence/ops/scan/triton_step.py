"""Writes a graph as a Triton function over a block of elements, with the results of PyTorch's operations."""

import math
import textwrap
from collections.abc import Callable, Sequence

import torch

from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan.pointwise_graph import PLACEHOLDERS, Graph, Node


def real_type(dtype: torch.dtype) -> str:
    """Return Triton's name of the type in which a step over tensors of a dtype is computed: 32 bits at least."""
    return str(torch.promote_types(dtype, torch.float32)).replace("torch.", "tl.")


def list_placeholders(graph: Graph, *kinds: str) -> list[str]:
    """List the names of the placeholders that the results depend on, in order: ``state0``, ``input1``."""
    return [f"{kind}{index}" for kind in kinds or PLACEHOLDERS for index in sorted(graph.find_placeholders(kind))]


def write_step_function(name: str, graph: Graph, real: str) -> str:
    """Write the function ``name(*placeholders, LANES)``, which returns the results as a tuple of blocks."""
    lines, results = write_assignments(graph, lambda node: f"{node.op}{node.value}", real)
    lines.append(f"return {write_tuple(results)}")
    head = write_call(f"def {name}", [*list_placeholders(graph), "LANES: tl.constexpr"])
    return f"@triton.jit\n{head}:\n" + textwrap.indent("\n".join(lines), "    ")


def write_assignments(
    graph: Graph, placeholder: Callable[[Node], str], real: str, *, letter: str = "v", block: str = "LANES"
) -> tuple[list[str], list[str]]:
    """Write the operations of a graph as assignments; also return the names of the results.

    Args:
        graph: the graph to compute.
        placeholder: returns the name of a placeholder.
        real: the type of the arithmetic.
        letter: first letter of the names of variables.
        block: the shape of constants.
    """
    names: list[str] = []
    lines = []
    for position, node in enumerate(graph.nodes):
        if node.op in PLACEHOLDERS:
            names.append(placeholder(node))
        else:
            names.append(f"{letter}{position}")
            lines.append(f"{letter}{position} = {_write_expression(node, names, real, block)}")
    return lines, [names[output] for output in graph.outputs]


def _write_expression(node: Node, names: Sequence[str], real: str, block: str) -> str:
    if node.op == "constant":
        # A block of its type, since Triton treats a bare number as float32 in a few places.
        value = repr(node.value) if math.isfinite(node.value) else f'float("{node.value}")'
        return f"tl.full([{block}], {value}, {'tl.int1' if node.kind == 'boolean' else real})"
    return OPERATIONS[node.op].triton.format(*(names[argument] for argument in node.arguments), real=real)


def write_tuple(names: Sequence[str]) -> str:
    """Write a tuple, also of a single name."""
    return f"({names[0]},)" if len(names) == 1 else write_call("", names)


def write_call(function: str, arguments: Sequence[str]) -> str:
    """Write a call or a signature, over several lines if it is long."""
    inside = ", ".join(arguments)
    if len(function) + len(inside) <= 80:
        return f"{function}({inside})"
    return f"{function}(\n{textwrap.fill(inside, 100, initial_indent='    ', subsequent_indent='    ')}\n)"
