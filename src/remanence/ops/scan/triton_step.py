"""A graph as a Triton function over a block of lanes, with the results that PyTorch's operations give."""

import math
import textwrap
from collections.abc import Sequence

import torch

from remanence.ops.scan.graph import PLACEHOLDERS, Graph, Node

_INFIX = {
    **dict(zip("add sub mul div".split(), "+-*/", strict=True)),
    **dict(zip("lt le gt ge eq ne".split(), "< <= > >= == !=".split(), strict=True)),
    **dict(zip("and or xor".split(), "&|^", strict=True)),
}

EXPRESSIONS = {
    **{op: f"{{0}} {sign} {{1}}" for op, sign in _INFIX.items()},
    **{op: f"tl.{op}({{0}})" for op in "abs sqrt log sin cos erf floor ceil".split()},
    # Of these Triton has only an exp, which is approximate.
    **{op: f"libdevice.{op}({{0}})" for op in "exp expm1 log1p tanh atan trunc".split()},
    "round": "libdevice.nearbyint({0})",
    "pow": "libdevice.pow({0}, {1})",
    "where": "tl.where({0}, {1}, {2})",
    "not": "~{0}",
    "neg": "-1.0 * {0}",  # -x is 0 - x to Triton: +0 where x is 0
    "sign": "({0} > 0.0).to({real}) - ({0} < 0.0).to({real})",
    "sigmoid": "1.0 / (1.0 + tl.exp(-{0}))",  # to 2e-6 of its value in float32, and a fifth of a step cheaper
    "minimum": "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "maximum": "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
}
"""What each operation of a graph is in Triton; ``real`` is the type of the arithmetic."""


def real_type(dtype: torch.dtype) -> str:
    """Triton's name of the type in which a step over tensors of a dtype is computed: 32 bits at least."""
    return str(torch.promote_types(dtype, torch.float32)).replace("torch.", "tl.")


def placeholders(graph: Graph, *kinds: str) -> list[str]:
    """Names of the placeholders that the results depend on, in order: ``state0``, ``input1``."""
    return [f"{kind}{index}" for kind in kinds or PLACEHOLDERS for index in sorted(graph.uses(kind))]


def step_function(name: str, graph: Graph, real: str) -> str:
    """The source of ``name(*placeholders, LANES)``, which returns the results as a tuple of blocks."""
    names: list[str] = []
    lines = []
    for position, node in enumerate(graph.nodes):
        if node.op in PLACEHOLDERS:
            names.append(f"{node.op}{node.value}")
        else:
            names.append(f"v{position}")
            lines.append(f"v{position} = {_expression(node, names, real)}")
    lines.append(f"return {tuple_of([names[output] for output in graph.outputs])}")
    head = call(f"def {name}", [*placeholders(graph), "LANES: tl.constexpr"])
    return f"@triton.jit\n{head}:\n" + textwrap.indent("\n".join(lines), "    ")


def _expression(node: Node, names: Sequence[str], real: str) -> str:
    if node.op == "constant":
        # A block of its type, since Triton takes a bare number for a float32 in a few places.
        value = repr(node.value) if math.isfinite(node.value) else f'float("{node.value}")'
        return f"tl.full([LANES], {value}, {'tl.int1' if node.kind == 'boolean' else real})"
    return EXPRESSIONS[node.op].format(*(names[argument] for argument in node.arguments), real=real)


def tuple_of(names: Sequence[str]) -> str:
    """A tuple, of one name too."""
    return f"({names[0]},)" if len(names) == 1 else call("", names)


def call(function: str, arguments: Sequence[str]) -> str:
    """A call or a signature, over several lines if it is long."""
    inside = ", ".join(arguments)
    if len(function) + len(inside) <= 80:
        return f"{function}({inside})"
    return f"{function}(\n{textwrap.fill(inside, 100, initial_indent='    ', subsequent_indent='    ')}\n)"
