"""Numba types for vectors of numbers and of truth values, with operators, the graph's operations, loads and stores."""

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from remanence._kernels import gather, interleave
from remanence._kernels.elementary import emit
from remanence._kernels.operations import OPERATIONS
from remanence._kernels.vector import Vector, vector_type


class Lanes(types.Type):
    """So many numbers of so many bits."""

    def __init__(self, bits: int, count: int):
        self.bits, self.count = bits, count
        super().__init__(f"lanes{count}f{bits}")


class Mask(types.Type):
    """So many truth values."""

    def __init__(self, count: int):
        self.count = count
        super().__init__(f"mask{count}")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes):
        super().__init__(manager, kind, vector_type(kind.bits, kind.count))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Mask):
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), kind.count))


def _spread(builder: Any, kind: types.Type, value: Any, target: Any) -> Any:
    """A lane type's value as it is; one number or truth value in every lane."""
    if isinstance(kind, Lanes | Mask):
        return value
    if isinstance(target.element, ir.FloatType):
        value = builder.fptrunc(value, target.element)
    one = builder.insert_element(ir.Constant(target, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), target.count), [0] * target.count)
    return builder.shuffle_vector(one, one, order)


def _lanes(kinds: tuple[types.Type, ...]) -> types.Type | None:
    """The vector type among operands, numbers before truth values."""
    found = [kind for kind in kinds if isinstance(kind, Lanes)] or [kind for kind in kinds if isinstance(kind, Mask)]
    return found[0] if found else None


def _emit(op: str, kinds: tuple[types.Type, ...], builder: Any, values: Any) -> Any:
    """The instructions of an operation on operands of these types."""
    kind = _lanes(kinds)
    assert isinstance(kind, Lanes | Mask)
    truths = ir.VectorType(ir.IntType(1), kind.count)
    numbers = truths if isinstance(kind, Mask) else vector_type(kind.bits, kind.count)
    vectors = []
    for place, (operand, value) in enumerate(zip(kinds, values, strict=True)):
        target = truths if op in ("and", "or", "xor", "not") or (op == "where" and place == 0) else numbers
        vectors.append(Vector(builder, _spread(builder, operand, value, target)))
    return emit(op, *vectors).value


def _result(op: str, kinds: tuple[types.Type, ...]) -> types.Type | None:
    kind = _lanes(kinds)
    is_boolean = op in OPERATIONS and OPERATIONS[op].is_boolean
    return Mask(kind.count) if isinstance(kind, Lanes | Mask) and is_boolean else kind


_typing: Any = infer_global  # its declaration hides that it is a decorator with arguments


def _register_operator(op: str, sign: Callable[..., Any]) -> None:
    @_typing(sign)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            result = _result(op, args)
            return signature(result, *args) if result is not None and not kws else None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _emit(op, sig.args, builder, args)

    if op in ("neg", "not"):
        lower_builtin(sign, Lanes)(lower)
        lower_builtin(sign, Mask)(lower)
        return
    for left in (Lanes, Mask, types.Float, types.Boolean):
        for right in (Lanes, Mask, types.Float, types.Boolean):
            if Lanes in (left, right) or Mask in (left, right):
                lower_builtin(sign, left, right)(lower)


for _row in OPERATIONS.values():
    if _row.method is not None:
        _register_operator(_row.name, _row.method)


def _function(op: str, count: int) -> Any:
    """An operation under its own name."""

    def emitter(result: Any, *kinds: Any) -> Any:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _emit(op, sig.args, builder, args)

        return result(*kinds), code

    if count == 1:
        return intrinsic(lambda typing, x: emitter(_result(op, (x,)), x))
    if count == 2:
        return intrinsic(lambda typing, x, y: emitter(_result(op, (x, y)), x, y))
    return intrinsic(lambda typing, x, y, z: emitter(_result(op, (x, y, z)), x, y, z))


@functools.cache
def functions(bits: int, count: int) -> dict[str, Any]:
    """What the source of a kernel may call, by name, for vectors of so many numbers of so many bits."""
    kind, mask = Lanes(bits, count), Mask(count)
    named = {
        **{row.name: _function(row.name, row.operands) for row in OPERATIONS.values() if row.method is None},
        "muladd": _function("muladd", 3),
    }
    memory = {**_memory(kind, mask), **gather.functions(kind), **interleave.functions(kind)}
    return {**named, **memory, "lanes": _everywhere(kind), "truth": _everywhere(mask)}


def _everywhere(kind: Any) -> Any:
    """A function that puts a number into every lane, and leaves a vector as it is."""

    @intrinsic
    def spread(typing: Any, x: Any) -> Any:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _spread(builder, x, args[0], context.get_value_type(kind))

        return kind(x), code

    return spread


def _memory(kind: Lanes, mask: Mask) -> dict[str, Any]:
    """Loads and stores at an address, of the lanes that exist."""
    numbers = vector_type(kind.bits, kind.count)
    truths = ir.VectorType(ir.IntType(1), kind.count)
    suffix = f"v{kind.count}f{kind.bits}.p0"
    align = ir.Constant(ir.IntType(32), kind.bits // 8)
    pointer = ir.PointerType()

    def library(builder: Any, name: str, result: Any, operands: Any) -> Any:
        full = f"llvm.masked.{name}.{suffix}"
        module = builder.module
        return module.globals.get(full) or ir.Function(module, ir.FunctionType(result, operands), full)

    @intrinsic
    def load(typing: Any, address: Any, inside: Any) -> Any:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            function = library(builder, "load", numbers, [pointer, ir.IntType(32), truths, numbers])
            place = builder.inttoptr(args[0], pointer)
            return builder.call(function, [place, align, args[1], ir.Constant(numbers, None)])

        return kind(types.intp, mask), code

    @intrinsic
    def store(typing: Any, address: Any, value: Any, inside: Any) -> Any:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            function = library(builder, "store", ir.VoidType(), [numbers, pointer, ir.IntType(32), truths])
            builder.call(function, [args[1], builder.inttoptr(args[0], pointer), align, args[2]])
            return context.get_dummy_value()

        return types.void(types.intp, kind, mask), code

    @intrinsic
    def first(typing: Any, many: Any) -> Any:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            wide = ir.VectorType(ir.IntType(64), kind.count)
            counted = Vector(builder, ir.Constant(wide, list(range(kind.count))))
            return (counted < Vector(builder, _spread(builder, many, args[0], wide))).value

        return mask(types.intp), code

    return {"load": load, "store": store, "first": first}
