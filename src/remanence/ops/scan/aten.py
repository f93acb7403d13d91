"""Lowers PyTorch's pointwise operators to the elementary operations of a graph."""

import math
from collections.abc import Callable
from typing import TypeAlias

from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan.pointwise_graph import Builder, Value

Lowering: TypeAlias = Callable[..., int]

SAME = "clone detach alias lift_fresh lift_fresh_copy positive".split()


class Emitter:
    """Adds operations to a graph; operands are positions of nodes."""

    def __init__(self, builder: Builder):
        self.builder = builder

    def __getattr__(self, op: str) -> Callable[..., int]:
        return lambda *operands: self.builder.apply(op.rstrip("_"), *operands)

    def number(self, value: Value) -> int:
        """Add a constant."""
        return self.builder.constant(value)

    def real(self, operand: int) -> int:
        """Convert a truth value to 1 or 0; a number is returned unchanged."""
        if self.builder.nodes[operand].kind == "real":
            return operand
        return self.where(operand, self.number(1.0), self.number(0.0))

    def truth(self, operand: int) -> int:
        """Convert a number to whether it is not 0; a truth value is returned unchanged."""
        if self.builder.nodes[operand].kind == "boolean":
            return operand
        return self.ne(operand, self.number(0.0))


LOWERINGS: dict[str, Lowering] = {}
"""Lowerings by operator name without overload, such as ``mul``: (emitter, every argument of the schema) -> position."""


def _direct(name: str, op: str | None = None) -> None:
    LOWERINGS[name] = lambda e, *xs: e.builder.apply(op or name, *(e.real(x) for x in xs))


for _row in OPERATIONS.values():
    if not _row.takes_booleans:  # add, sub, div and where have more arguments in PyTorch: below
        _direct(_row.name)
_direct("sgn", "sign")
for _name in SAME:
    LOWERINGS[_name] = lambda e, x, *_: x


def _lowering(*names: str) -> Callable[[Lowering], Lowering]:
    def register(function: Lowering) -> Lowering:
        for name in names:
            LOWERINGS[name] = function
        return function

    return register


@_lowering("add")
def _add(e: Emitter, x: int, y: int, alpha: int) -> int:
    return e.add(e.real(x), e.mul(e.real(y), alpha))


@_lowering("sub")
def _sub(e: Emitter, x: int, y: int, alpha: int) -> int:
    return e.sub(e.real(x), e.mul(e.real(y), alpha))


@_lowering("rsub")
def _rsub(e: Emitter, x: int, y: int, alpha: int) -> int:
    return _sub(e, y, x, alpha)


@_lowering("empty_like", "new_empty", "empty")
def _uninitialised(e: Emitter, *_: object) -> int:
    return e.number(math.nan)


@_lowering("reciprocal")
def _reciprocal(e: Emitter, x: int) -> int:
    return e.div(e.number(1.0), x)


@_lowering("rsqrt")
def _rsqrt(e: Emitter, x: int) -> int:
    return e.div(e.number(1.0), e.sqrt(x))


@_lowering("square")
def _square(e: Emitter, x: int) -> int:
    return e.mul(x, x)


@_lowering("exp2")
def _exp2(e: Emitter, x: int) -> int:
    return e.pow(e.number(2.0), x)


@_lowering("log2")
def _log2(e: Emitter, x: int) -> int:
    return e.div(e.log(x), e.number(math.log(2)))


@_lowering("log10")
def _log10(e: Emitter, x: int) -> int:
    return e.div(e.log(x), e.number(math.log(10)))


@_lowering("tan")
def _tan(e: Emitter, x: int) -> int:
    return e.div(e.sin(x), e.cos(x))


@_lowering("sinh")
def _sinh(e: Emitter, x: int) -> int:
    return e.mul(e.sub(e.expm1(x), e.expm1(e.neg(x))), e.number(0.5))


@_lowering("cosh")
def _cosh(e: Emitter, x: int) -> int:
    return e.mul(e.add(e.exp(x), e.exp(e.neg(x))), e.number(0.5))


@_lowering("erfc")
def _erfc(e: Emitter, x: int) -> int:
    return e.sub(e.number(1.0), e.erf(x))


@_lowering("div")
def _div(e: Emitter, x: int, y: int, rounding_mode: str | None = None) -> int:
    quotient = e.div(e.real(x), e.real(y))
    return quotient if rounding_mode is None else e.builder.apply(rounding_mode, quotient)


@_lowering("where")
def _where(e: Emitter, condition: int, x: int, y: int) -> int:
    return e.where(e.truth(condition), e.real(x), e.real(y))


@_lowering("masked_fill")
def _masked_fill(e: Emitter, x: int, mask: int, value: int) -> int:
    return e.where(e.truth(mask), value, x)


@_lowering("logical_and", "bitwise_and", "__and__")
def _and(e: Emitter, x: int, y: int) -> int:
    return e.and_(e.truth(x), e.truth(y))


@_lowering("logical_or", "bitwise_or", "__or__")
def _or(e: Emitter, x: int, y: int) -> int:
    return e.or_(e.truth(x), e.truth(y))


@_lowering("logical_xor", "bitwise_xor")
def _xor(e: Emitter, x: int, y: int) -> int:
    return e.xor(e.truth(x), e.truth(y))


@_lowering("logical_not", "bitwise_not")
def _not(e: Emitter, x: int) -> int:
    return e.not_(e.truth(x))


@_lowering("isnan")
def _isnan(e: Emitter, x: int) -> int:
    return e.ne(x, x)


@_lowering("clamp", "hardtanh")
def _clamp(e: Emitter, x: int, low: int | None, high: int | None) -> int:
    x = x if low is None else e.maximum(x, low)
    return x if high is None else e.minimum(x, high)


@_lowering("clamp_min")
def _clamp_min(e: Emitter, x: int, bound: int) -> int:
    return e.maximum(x, bound)


@_lowering("clamp_max")
def _clamp_max(e: Emitter, x: int, bound: int) -> int:
    return e.minimum(x, bound)


@_lowering("addcmul")
def _addcmul(e: Emitter, x: int, a: int, b: int, value: int) -> int:
    return _add(e, x, e.mul(a, b), value)


@_lowering("addcdiv")
def _addcdiv(e: Emitter, x: int, a: int, b: int, value: int) -> int:
    return _add(e, x, e.div(a, b), value)


@_lowering("lerp")
def _lerp(e: Emitter, start: int, end: int, weight: int) -> int:
    return e.add(start, e.mul(weight, e.sub(end, start)))


@_lowering("logaddexp")
def _logaddexp(e: Emitter, x: int, y: int) -> int:
    apart = e.where(e.eq(x, y), e.number(0.0), e.abs(e.sub(x, y)))  # equal infinities are no distance apart
    return e.add(e.maximum(x, y), e.log1p(e.exp(e.neg(apart))))


@_lowering("relu")
def _relu(e: Emitter, x: int) -> int:
    return e.maximum(x, e.number(0.0))


@_lowering("threshold_backward")
def _threshold_backward(e: Emitter, g: int, x: int, threshold: int) -> int:
    return e.where(e.le(x, threshold), e.number(0.0), g)


@_lowering("leaky_relu")
def _leaky_relu(e: Emitter, x: int, slope: int) -> int:
    return e.where(e.gt(x, e.number(0.0)), x, e.mul(x, slope))


@_lowering("leaky_relu_backward")
def _leaky_relu_backward(e: Emitter, g: int, x: int, slope: int, _is_result: int) -> int:
    return e.where(e.gt(x, e.number(0.0)), g, e.mul(g, slope))


@_lowering("elu")
def _elu(e: Emitter, x: int, alpha: int, scale: int, slope: int) -> int:
    negative = e.mul(e.mul(e.expm1(e.mul(x, slope)), alpha), scale)
    return e.where(e.gt(x, e.number(0.0)), e.mul(x, scale), negative)


@_lowering("elu_backward")
def _elu_backward(e: Emitter, g: int, alpha: int, scale: int, slope: int, is_result: int, x: int) -> int:
    zero = e.number(0.0)
    if e.builder.nodes[is_result].value:
        negative = e.mul(e.mul(g, slope), e.add(x, e.mul(alpha, scale)))
    else:
        negative = e.mul(e.mul(e.mul(g, slope), e.mul(alpha, scale)), e.exp(e.mul(x, slope)))
    return e.where(e.le(x, zero), negative, e.mul(g, scale))


@_lowering("celu")
def _celu(e: Emitter, x: int, alpha: int) -> int:
    return _elu(e, x, alpha, e.number(1.0), e.div(e.number(1.0), alpha))


@_lowering("gelu")
def _gelu(e: Emitter, x: int, approximate: str) -> int:
    half = e.mul(x, e.number(0.5))
    if approximate == "tanh":
        return e.mul(half, e.add(e.tanh(_gelu_inner(e, x)), e.number(1.0)))
    return e.mul(half, e.add(e.erf(e.mul(x, e.number(math.sqrt(0.5)))), e.number(1.0)))


def _gelu_inner(e: Emitter, x: int) -> int:
    cubic = e.mul(e.mul(e.mul(x, x), x), e.number(0.044715))
    return e.mul(e.add(x, cubic), e.number(math.sqrt(2 / math.pi)))


@_lowering("gelu_backward")
def _gelu_backward(e: Emitter, g: int, x: int, approximate: str) -> int:
    one, half = e.number(1.0), e.number(0.5)
    if approximate == "tanh":
        t = e.tanh(_gelu_inner(e, x))
        inner = e.mul(e.add(e.mul(e.mul(x, x), e.number(3 * 0.044715)), one), e.number(math.sqrt(2 / math.pi)))
        left, right = e.mul(half, e.add(t, one)), e.mul(e.mul(half, x), e.mul(e.sub(one, e.mul(t, t)), inner))
    else:
        left = e.mul(half, e.add(e.erf(e.mul(x, e.number(math.sqrt(0.5)))), one))
        density = e.exp(e.mul(e.mul(x, x), e.number(-0.5)))
        right = e.mul(x, e.mul(density, e.number(1 / math.sqrt(2 * math.pi))))
    return e.mul(g, e.add(left, right))


@_lowering("silu")
def _silu(e: Emitter, x: int) -> int:
    return e.mul(x, e.sigmoid(x))


@_lowering("silu_backward")
def _silu_backward(e: Emitter, g: int, x: int) -> int:
    s, one = e.sigmoid(x), e.number(1.0)
    return e.mul(g, e.mul(s, e.add(one, e.mul(x, e.sub(one, s)))))


@_lowering("softplus")
def _softplus(e: Emitter, x: int, beta: int, threshold: int) -> int:
    scaled = e.mul(x, beta)
    return e.where(e.gt(scaled, threshold), x, e.div(e.log1p(e.exp(scaled)), beta))


@_lowering("softplus_backward")
def _softplus_backward(e: Emitter, g: int, x: int, beta: int, threshold: int) -> int:
    scaled = e.mul(x, beta)
    return e.where(e.gt(scaled, threshold), g, e.mul(g, e.sigmoid(scaled)))


@_lowering("mish")
def _mish(e: Emitter, x: int) -> int:
    return e.mul(x, e.tanh(_softplus(e, x, e.number(1.0), e.number(20.0))))


@_lowering("mish_backward")
def _mish_backward(e: Emitter, g: int, x: int) -> int:
    t, one = e.tanh(_softplus(e, x, e.number(1.0), e.number(20.0))), e.number(1.0)
    slope = e.mul(e.mul(x, e.sigmoid(x)), e.sub(one, e.mul(t, t)))
    return e.mul(g, e.add(t, slope))


@_lowering("log_sigmoid_forward")
def _log_sigmoid(e: Emitter, x: int) -> int:
    return e.sub(e.minimum(x, e.number(0.0)), e.log1p(e.exp(e.neg(e.abs(x)))))


@_lowering("log_sigmoid_backward")
def _log_sigmoid_backward(e: Emitter, g: int, x: int, _buffer: int) -> int:
    return e.mul(g, e.sigmoid(e.neg(x)))


@_lowering("tanh_backward")
def _tanh_backward(e: Emitter, g: int, y: int) -> int:
    return e.mul(g, e.sub(e.number(1.0), e.mul(y, y)))


@_lowering("sigmoid_backward")
def _sigmoid_backward(e: Emitter, g: int, y: int) -> int:
    return e.mul(g, e.mul(e.sub(e.number(1.0), y), y))


@_lowering("hardtanh_backward")
def _hardtanh_backward(e: Emitter, g: int, x: int, low: int, high: int) -> int:
    return e.where(e.or_(e.le(x, low), e.ge(x, high)), e.number(0.0), g)


@_lowering("hardsigmoid")
def _hardsigmoid(e: Emitter, x: int) -> int:
    shifted = _clamp(e, e.add(x, e.number(3.0)), e.number(0.0), e.number(6.0))
    return e.div(shifted, e.number(6.0))


@_lowering("hardsigmoid_backward")
def _hardsigmoid_backward(e: Emitter, g: int, x: int) -> int:
    inside = e.and_(e.gt(x, e.number(-3.0)), e.lt(x, e.number(3.0)))
    return e.where(inside, e.div(g, e.number(6.0)), e.number(0.0))
