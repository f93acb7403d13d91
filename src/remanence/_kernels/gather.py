"""For kernels that read by index: a number for all lanes, an index, a total, full vectors of a kernel's own memory."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from remanence._kernels.vector import vector_type


def functions(kind: Any) -> dict[str, Any]:
    """What the source of a kernel may call, by name, for lanes of a kind; an address is a number of bytes."""
    numbers = vector_type(kind.bits, kind.count)
    align = kind.bits // 8

    def read(builder: Any, address: Any, what: Any, width: int) -> Any:
        # llvmlite has pointers without a type, and loads that are told one.
        return builder.load(builder.inttoptr(address, ir.PointerType()), typ=what, align=width)

    @intrinsic
    def load_full(typing: Any, address: Any) -> Any:
        """A vector, all of it."""

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return read(builder, args[0], numbers, align)

        return kind(types.intp), code

    @intrinsic
    def store_full(typing: Any, address: Any, value: Any) -> Any:
        """A vector, all of it."""

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            builder.store(args[1], builder.inttoptr(args[0], ir.PointerType()), align=align)
            return context.get_dummy_value()

        return types.void(types.intp, kind), code

    @intrinsic
    def broadcast(typing: Any, address: Any) -> Any:
        """One number in every lane."""

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            number = read(builder, args[0], numbers.element, align)
            one = builder.insert_element(ir.Constant(numbers, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
            order = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
            return builder.shuffle_vector(one, one, order)

        return kind(types.intp), code

    @intrinsic
    def integer(typing: Any, address: Any) -> Any:
        """A whole number of 64 bits."""

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return read(builder, args[0], ir.IntType(64), 8)

        return types.intp(types.intp), code

    @intrinsic
    def add_total(typing: Any, address: Any, value: Any) -> Any:
        """Add the sum of all lanes to a number."""

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            module, name = builder.module, f"llvm.vector.reduce.fadd.v{kind.count}f{kind.bits}"
            signed = ir.FunctionType(numbers.element, [numbers.element, numbers])
            function = module.globals.get(name) or ir.Function(module, signed, name)
            before = read(builder, args[0], numbers.element, align)
            total = builder.call(function, [before, args[1]], fastmath=("reassoc",))
            builder.store(total, builder.inttoptr(args[0], ir.PointerType()), align=align)
            return context.get_dummy_value()

        return types.void(types.intp, kind), code

    return {
        "load_full": load_full,
        "store_full": store_full,
        "broadcast": broadcast,
        "integer": integer,
        "add_total": add_total,
    }
