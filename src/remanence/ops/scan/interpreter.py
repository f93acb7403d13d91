"""Evaluates a graph with PyTorch, operation by operation, on tensors of any shape."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan.pointwise_graph import PLACEHOLDERS, Graph


def evaluate(graph: Graph, values: Mapping[str, Sequence[Tensor]], like: Tensor) -> list[Tensor]:
    """Evaluate a graph on tensors.

    Args:
        graph: the graph to evaluate.
        values: for each kind of placeholder (``state``, ``input``, ``param``, ``cotangent``) its tensors; all must
            broadcast together.
        like: a tensor with the dtype and the device of the results.

    Returns:
        The results, of the shape that their operands broadcast to; a constant result has no dimension.
    """
    computed: dict[int, Tensor] = {}
    for place, (node, done) in enumerate(zip(graph.nodes, graph.last_used, strict=True)):
        if node.op in PLACEHOLDERS:
            computed[place] = values[node.op][int(node.value)]
        elif node.op == "constant":
            dtype = torch.bool if node.kind == "boolean" else like.dtype
            computed[place] = torch.tensor(node.value, dtype=dtype, device=like.device)
        else:
            computed[place] = OPERATIONS[node.op].function(*(computed[argument] for argument in node.arguments))
        for argument in done:  # the memory of a sequence that nothing needs any more
            del computed[argument]
    return [computed[output] for output in graph.outputs]
