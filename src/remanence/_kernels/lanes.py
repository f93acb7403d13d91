"""Functions that the text of a kernel may call: operations on vectors of numbers and truth values, loads and stores."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from llvmlite import ir

from remanence._kernels import gather, interleave
from remanence._kernels.elementary import emit
from remanence._kernels.operations import OPERATIONS
from remanence._kernels.vector import Vector, vector_type

Value: TypeAlias = Any
"""An LLVM value or a Python literal: a float, which is the same number in every lane, or a bool."""

Function: TypeAlias = Callable[..., Value]
"""``(builder, *values) -> value``."""


def is_vector(value: Value) -> bool:
    """Return whether a value is a vector."""
    return not isinstance(value, float | bool) and isinstance(value.type, ir.VectorType)


def spread(builder: Any, value: Value, bits: int, count: int, *, truth: bool = False) -> Value:
    """Return a vector unchanged, and a number or truth value as a vector with that value in every lane."""
    target = ir.VectorType(ir.IntType(1), count) if truth else vector_type(bits, count)
    if is_vector(value):
        return value
    if isinstance(value, float | bool):
        return ir.Constant(target, [ir.Constant(target.element, value)] * count)
    return broadcast(builder, value, count)


def broadcast(builder: Any, value: Value, count: int) -> Value:
    """Write the instructions that repeat a value in every lane of a vector."""
    target = ir.VectorType(value.type, count)
    one = builder.insert_element(ir.Constant(target, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(one, one, order)


def apply(builder: Any, op: str, values: Sequence[Value], bits: int, count: int) -> Value:
    """Write the instructions of an operation."""
    truths = op in ("and", "or", "xor", "not") or all(_is_truth(value) for value in values)
    vectors = [
        Vector(builder, spread(builder, value, bits, count, truth=truths or (op == "where" and place == 0)))
        for place, value in enumerate(values)
    ]
    return emit(op, *vectors).value


def _is_truth(value: Value) -> bool:
    if is_vector(value):
        return value.type.element == ir.IntType(1)
    return isinstance(value, bool)


def make_functions(bits: int, count: int) -> dict[str, Function]:
    """Return all functions that the text of a kernel may call, by name.

    Args:
        bits: width of a number in bits, 32 or 64.
        count: number of numbers in a vector.
    """

    def make_operation(op: str) -> Function:
        return lambda builder, *values: apply(builder, op, values, bits, count)

    named = {row.name: make_operation(row.name) for row in OPERATIONS.values() if row.method is None}
    kind = vector_type(bits, count)
    return {
        **named,
        "muladd": make_operation("muladd"),
        **_make_memory_functions(kind),
        **gather.make_functions(kind),
        **interleave.make_functions(kind),
        "lanes": lambda builder, value: spread(builder, value, bits, count),
        "truth": lambda builder, value: spread(builder, value, bits, count, truth=True),
    }


def _make_memory_functions(kind: ir.VectorType) -> dict[str, Function]:
    """Return loads and stores at an address that skip the lanes outside of a mask."""
    count, bits = kind.count, Vector.bits_of(kind)
    truths = ir.VectorType(ir.IntType(1), count)
    align = ir.Constant(ir.IntType(32), bits // 8)
    pointer = ir.PointerType()

    def declare(builder: Any, name: str, result: Any, operands: Any) -> Any:
        full = f"llvm.masked.{name}.v{count}f{bits}.p0"
        module = builder.module
        return module.globals.get(full) or ir.Function(module, ir.FunctionType(result, operands), full)

    def load(builder: Any, address: Value, inside: Value) -> Value:
        function = declare(builder, "load", kind, [pointer, ir.IntType(32), truths, kind])
        return builder.call(function, [builder.inttoptr(address, pointer), align, inside, ir.Constant(kind, None)])

    def store(builder: Any, address: Value, value: Value, inside: Value) -> None:
        function = declare(builder, "store", ir.VoidType(), [kind, pointer, ir.IntType(32), truths])
        value = spread(builder, value, bits, count)
        builder.call(function, [value, builder.inttoptr(address, pointer), align, inside])

    return {"load": load, "store": store, "first": partial(_mask_first, count)}


def _mask_first(count: int, builder: Any, many: Value) -> Value:
    """Write a mask of the first lanes."""
    wide = ir.VectorType(ir.IntType(64), count)
    numbered = Vector(builder, ir.Constant(wide, [ir.Constant(wide.element, lane) for lane in range(count)]))
    return (numbered < Vector(builder, broadcast(builder, many, count))).value
