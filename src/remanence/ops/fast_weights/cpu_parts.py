"""Fast weights over time as the source of kernels.

A kernel takes one sample through all of time, its units side by side in vector registers. Vectors, and the rows of
matrices, are padded with zeros to whole registers. A product reads column after column (A is symmetric, and the kernel
gets the transpose of W), four at a time so that their sums do not depend on one another. A is saved every few steps;
the backward kernel recomputes those between two of them, and keeps them for as long as it needs them.

Names: ``z`` the argument of the layer norm, ``u`` its result before gain and shift (z itself, if there is no layer
norm), ``v`` the units; ``G`` the gradient of A plus its transpose; a ``g`` before a name its gradient; ``at`` is an
address.
"""

from remanence._kernels.kernel_source import HEAD, KernelSource
from remanence._kernels.source_text import fill_template

COLUMNS = 4
"""How many columns of a product are summed side by side; rows and columns are padded to a multiple of it."""

_SIZES = "size blocks time reads every"
_SHARED = "matrix_at gain_at shift_at numbers_at u_at u_sample u_step scale_at marks_at y_at work_at"

_EPISODES = "reset_at length_at"
"""For each sample and step whether h and A are set to 0 before it, and for each sample its steps: 64-bit integers."""

_START = """\
def {name}({arguments}):
    row = blocks * LANES * SIZE
    plane = blocks * LANES * row
    decay = broadcast(numbers_at)
    rate = broadcast(numbers_at + SIZE)
    share = broadcast(numbers_at + 2 * SIZE)
    eps = broadcast(numbers_at + 3 * SIZE)
    one = first(1)
"""

_PRODUCT = """\
s1 = lanes(0.0)
s2 = lanes(0.0)
s3 = lanes(0.0)
for j in range(0, blocks * LANES, COLUMNS):
    column = {matrix} + j * row + offset
    number = {vector} + j * SIZE
    s0 = muladd(load_full(column), broadcast(number), s0)
    s1 = muladd(load_full(column + row), broadcast(number + SIZE), s1)
    s2 = muladd(load_full(column + 2 * row), broadcast(number + 2 * SIZE), s2)
    s3 = muladd(load_full(column + 3 * row), broadcast(number + 3 * SIZE), s3)
total = (s0 + s1) + (s2 + s3)
"""

_UNIT_VALUE = {
    True: "value = muladd(load_full(u + offset), load_full(gain_at + offset), load_full(shift_at + offset))\n",
    False: "value = load_full(u + offset)\n",
}
_NONLINEARITY = {"relu": "value = maximum(value, 0.0)\n", "tanh": "value = tanh(value)\n"}


def product(matrix: str, vector: str) -> str:
    """Write lines that compute ``total``, a block of the product of the matrix with the vector, added to ``s0``."""
    return _PRODUCT.format(matrix=matrix, vector=vector).replace("COLUMNS", str(COLUMNS))


def unit_value(norm: bool, nonlinearity: str) -> str:
    """Write lines that compute ``value``, a block of the units, from the result of the layer norm at ``u``."""
    return _UNIT_VALUE[norm] + _NONLINEARITY[nonlinearity]


def source(name: str, body: str, own: str, *, episodes: bool, **parts: str) -> KernelSource:
    """Write a kernel that takes the shared arguments and its own, and for episodes those of :data:`_EPISODES`."""
    arguments = (*HEAD, *f"{_SIZES} {_SHARED} {own} {_EPISODES if episodes else ''}".split())
    parts |= {"steps": "integer(length_at + unit * 8)" if episodes else "time"}
    return KernelSource(fill_template(_START + body, name=name, arguments=", ".join(arguments), **parts), arguments)


def if_reset(time: str, lines: str, *, episodes: bool) -> str:
    """Write lines that run for samples that are reset before this time step."""
    if not episodes:
        return ""
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return f"if integer(reset_at + (unit * time + {time}) * 8) != 0:\n{indented}"


def fill_zeros(start: str, size: str) -> str:
    """Write lines that set the numbers from an address on to 0."""
    return f"for place in range(0, {size}, LANES * SIZE):\n    store_full({start} + place, lanes(0.0))\n"
