"""Functions for kernels that transpose a block of memory: interleave the numbers of two vectors."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir


def make_functions(kind: ir.VectorType) -> dict[str, Callable[..., Any]]:
    """Return functions that the text of a kernel may call, by name, for a vector type."""

    def make_interleave(begin: int) -> Callable[..., Any]:
        order = [half * kind.count + begin + lane for lane in range(kind.count // 2) for half in (0, 1)]

        def interleave(builder: Any, x: Any, y: Any) -> Any:
            places = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), order)
            return builder.shuffle_vector(x, y, places)

        return interleave

    return {"interleave_low": make_interleave(0), "interleave_high": make_interleave(kind.count // 2)}


def write_transpose(lanes: int) -> str:
    """Write lines that transpose x0, x1, ..., as many as lanes: number j of vector i becomes number i of vector j.

    One round moves the highest bit of the index of the vector below the lowest bit of the index in it, and the highest
    bit of the latter below the lowest of the former. After as many rounds as there are bits the two are exchanged.
    """
    names = [f"x{i}" for i in range(lanes)]
    once = [
        f"y{2 * i + high} = interleave_{('low', 'high')[high]}(x{i}, x{i + lanes // 2})"
        for i in range(lanes // 2)
        for high in (0, 1)
    ]
    back = [f"{name} = y{name[1:]}" for name in names]
    return "\n".join((once + back) * (lanes.bit_length() - 1))
