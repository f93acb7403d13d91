"""The table of elementary operations that a traced step may contain, with their implementation in every backend.

A new operation is a row here. If LLVM has no such instruction or library function, add a function of that name to
:mod:`remanence._kernels.elementary`. :mod:`remanence.ops.scan.aten` translates PyTorch's operators to these operations.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Operation:
    """An operation on numbers or truth values.

    Attributes:
        name: name of the operation in a graph.
        operands: number of operands.
        function: function that computes the operation on tensors.
        triton: Triton expression; ``{0}`` is the first operand, ``{real}`` the type of the arithmetic.
        sign: Python operator, between two operands or before one; None (default) if the operation is a function call.
        method: function of :mod:`operator` for that sign; None (default) for a function call.
        is_boolean: whether the result is a truth value; default: False.
        takes_booleans: whether all operands are truth values; default: False.
    """

    name: str
    operands: int
    function: Callable[..., Tensor]
    triton: str
    sign: str | None = None
    method: Callable[..., Any] | None = None
    is_boolean: bool = False
    takes_booleans: bool = False


def _infix(name: str, sign: str, method: str = "", *, is_boolean: bool = False, logical: bool = False) -> Operation:
    """Return an operation that is an infix operator in Python and in Triton."""
    function, python = getattr(torch, f"logical_{name}" if logical else name), getattr(operator, method or name)
    return Operation(name, 2, function, f"{{0}} {sign} {{1}}", sign, python, is_boolean or logical, logical)


def _function(name: str, triton: str, operands: int = 1) -> Operation:
    """Return an operation that is a function call."""
    return Operation(name, operands, getattr(torch, name), triton)


_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_ROWS = (
    _infix("add", "+"),
    _infix("sub", "-"),
    _infix("mul", "*"),
    _infix("div", "/", "truediv"),
    Operation("neg", 1, torch.neg, "-1.0 * {0}", "-", operator.neg),  # -x is 0 - x to Triton: +0 where x is 0
    *(_infix(name, sign, is_boolean=True) for name, sign in _COMPARISONS.items()),
    _infix("and", "&", "and_", logical=True),
    _infix("or", "|", "or_", logical=True),
    _infix("xor", "^", logical=True),
    Operation("not", 1, torch.logical_not, "~{0}", "~", operator.invert, is_boolean=True, takes_booleans=True),
    _function("where", "tl.where({0}, {1}, {2})", 3),
    _function("minimum", "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)", 2),
    _function("maximum", "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)", 2),
    _function("pow", "libdevice.pow({0}, {1})", 2),
    _function("sign", "({0} > 0.0).to({real}) - ({0} < 0.0).to({real})"),
    _function("round", "libdevice.nearbyint({0})"),
    # Accurate to 2e-6 of its value in float32; with libdevice's exp a step takes a fifth longer.
    _function("sigmoid", "1.0 / (1.0 + tl.exp(-{0}))"),
    *(_function(name, f"tl.{name}({{0}})") for name in ("abs", "sqrt", "log", "sin", "cos", "erf", "floor", "ceil")),
    # Triton's own exp is approximate, and it has none of the others.
    *(_function(name, f"libdevice.{name}({{0}})") for name in ("exp", "expm1", "log1p", "tanh", "atan", "trunc")),
)

OPERATIONS = {row.name: row for row in _ROWS}
