"""Functions for kernels that read by index: broadcast a number, read an index, add to a total, full vectors."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from remanence._kernels.vector import Vector


def make_functions(kind: ir.VectorType) -> dict[str, Callable[..., Any]]:
    """Return functions that the text of a kernel may call, by name, for a vector type; an address counts bytes."""
    bits = Vector.bits_of(kind)
    align = bits // 8

    def read(builder: Any, address: Any, what: Any, width: int) -> Any:
        # llvmlite's pointers have no type, so loads are given one.
        return builder.load(builder.inttoptr(address, ir.PointerType()), typ=what, align=width)

    def load_full(builder: Any, address: Any) -> Any:
        """Load a whole vector."""
        return read(builder, address, kind, align)

    def store_full(builder: Any, address: Any, value: Any) -> None:
        """Store a whole vector."""
        if isinstance(value, float):
            value = ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)
        builder.store(value, builder.inttoptr(address, ir.PointerType()), align=align)

    def broadcast(builder: Any, address: Any) -> Any:
        """Load one number into every lane."""
        number = read(builder, address, kind.element, align)
        one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
        return builder.shuffle_vector(one, one, order)

    def integer(builder: Any, address: Any) -> Any:
        """Load a whole number of 64 bits."""
        return read(builder, address, ir.IntType(64), 8)

    def add_total(builder: Any, address: Any, value: Any) -> None:
        """Add the sum of all lanes to a number in memory."""
        module, name = builder.module, f"llvm.vector.reduce.fadd.v{kind.count}f{bits}"
        signed = ir.FunctionType(kind.element, [kind.element, kind])
        function = module.globals.get(name) or ir.Function(module, signed, name)
        before = read(builder, address, kind.element, align)
        total = builder.call(function, [before, value], fastmath=("reassoc",))
        builder.store(total, builder.inttoptr(address, ir.PointerType()), align=align)

    return {
        "load_full": load_full,
        "store_full": store_full,
        "broadcast": broadcast,
        "integer": integer,
        "add_total": add_total,
    }
