"""For kernels that turn a block of memory round: two vectors, number by number in turn."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir


def functions(kind: ir.VectorType) -> dict[str, Callable[..., Any]]:
    """What the text of a kernel may call, by name, for vectors of a kind."""

    def taking(begin: int) -> Callable[..., Any]:
        order = [half * kind.count + begin + lane for lane in range(kind.count // 2) for half in (0, 1)]

        def interleave(builder: Any, x: Any, y: Any) -> Any:
            places = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), order)
            return builder.shuffle_vector(x, y, places)

        return interleave

    return {"interleave_low": taking(0), "interleave_high": taking(kind.count // 2)}


def transposed(lanes: int) -> str:
    """Lines that turn x0, x1, ..., as many as lanes, round: what was number j of vector i becomes number i of vector j.

    A round moves the first bit of the vector's number behind the last bit of the place in it, and that of the place
    behind the vector's; after as many rounds as bits the two have changed places.
    """
    names = [f"x{i}" for i in range(lanes)]
    once = [
        f"y{2 * i + high} = interleave_{('low', 'high')[high]}(x{i}, x{i + lanes // 2})"
        for i in range(lanes // 2)
        for high in (0, 1)
    ]
    back = [f"{name} = y{name[1:]}" for name in names]
    return "\n".join((once + back) * (lanes.bit_length() - 1))
