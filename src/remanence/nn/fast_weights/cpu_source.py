"""Fast weights over time as the source of Numba functions.

A kernel takes one sample through all of time, its units side by side in vector registers. Vectors, and the rows of
matrices, are padded with zeros to whole registers; a product takes column after column (A is symmetric, of W the kernel
is given the transpose), four at a time so that their sums do not wait for one another. A is kept every few steps; the
way back makes those between two of them again, and holds them all while it passes.

Names: ``z`` what goes into the layer norm, ``u`` what comes out of it before gain and shift (z itself, where there is
none), ``v`` the units; ``G`` the gradient of A plus its transpose; a ``g`` before a name its gradient; ``at`` is an
address.
"""

import functools

from remanence.scan.generated import filled
from remanence.synaptic.dense_source import HEAD, Source

COLUMNS = 4
"""How many columns of a product are summed side by side; rows and columns are padded to a multiple of it."""

_SIZES = "size blocks time reads every"
_SHARED = "matrix_at gain_at shift_at numbers_at u_at u_sample u_step scale_at marks_at y_at work_at"

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

_FORWARD = """\
    v = work_at + part * (3 * row + LANES * SIZE)
    z = v + row
    boundary = z + row
    cell = boundary + row
    for unit in range(begin, end):
        A = a_at + unit * plane
        h = h_at + unit * row
        for t in range(time):
            drive = drive_at + (unit * time + t) * size * SIZE
            u = u_at + unit * u_sample + t * u_step
            scale = scale_at + (unit * u_sample + t * u_step) // (blocks * LANES)
            if every > 0 and t % every == 0:
                mark = marks_at + (unit * ((time + every - 1) // every) + t // every) * plane
                for place in range(0, plane, LANES * SIZE):
                    store_full(mark + place, load_full(A + place))
            for block in range(blocks):
                offset = block * LANES * SIZE
                s0 = load(drive + offset, first(size - block * LANES))
                {from_h}
                store_full(boundary + offset, total)
                store_full(z + offset, total)
            {settle}
            for s in range(reads):
                for block in range(blocks):
                    offset = block * LANES * SIZE
                    s0 = load_full(boundary + offset)
                    {from_v}
                    store_full(z + offset, total)
                u += row
                scale += SIZE
                {settle}
            for block in range(blocks):
                offset = block * LANES * SIZE
                value = load_full(v + offset)
                store_full(h + offset, value)
                store(y_at + (unit * time + t) * size * SIZE + offset, value, first(size - block * LANES))
            for j in range(size):
                v_j = broadcast(v + j * SIZE)
                for block in range(blocks):
                    place = A + j * row + block * LANES * SIZE
                    {written}
                    store_full(place, written)
"""

_BACKWARD = """\
    height = (2 * reads + 5) * row + every * plane
    h = work_at + part * (height + 2 * LANES * SIZE)
    gh = h + row
    gz0 = gh + row
    pull = gz0 + row
    gv = pull + row
    vs = gv + row
    gzs = vs + reads * row
    history = gzs + reads * row
    cell = h + height
    sums = sum_at + part * (2 * row + 2 * LANES * SIZE)
    segments = (time + every - 1) // every
    for unit in range(begin, end):
        G = g_at + unit * plane
        for block in range(blocks):
            offset = block * LANES * SIZE
            store_full(gh + offset, load_full(gh_at + unit * row + offset))
        for behind in range(segments):
            segment = segments - 1 - behind
            begins = segment * every
            ends = begins + every if begins + every < time else time
            mark = marks_at + (unit * segments + segment) * plane
            for place in range(0, plane, LANES * SIZE):
                store_full(history + place, load_full(mark + place))
            for i in range(ends - begins - 1):
                then = y_at + (unit * time + begins + i) * size * SIZE
                for j in range(size):
                    v_j = broadcast(then + j * SIZE)
                    for block in range(blocks):
                        place = history + i * plane + j * row + block * LANES * SIZE
                        value = load(then + block * LANES * SIZE, first(size - block * LANES))
                        store_full(place + plane, muladd(decay, load_full(place), rate * (v_j * value)))
            for back in range(ends - begins):
                t = ends - 1 - back
                A = history + (t - begins) * plane
                here = (unit * time + t) * size * SIZE
                for block in range(blocks):
                    offset = block * LANES * SIZE
                    store_full(h + offset, load(y_at + here + offset, first(size - block * LANES)))
                    store_full(gz0 + offset, lanes(0.0))
                for block in range(blocks):
                    offset = block * LANES * SIZE
                    s0 = lanes(0.0)
                    {from_G}
                    value = load_full(h + offset)
                    {of_rate}
                    above = load(above_at + here + offset, first(size - block * LANES))
                    store_full(gv + offset, muladd(rate, total, load_full(gh + offset) + above))
                u = u_at + unit * u_sample + t * u_step
                for s in range(reads):
                    for block in range(blocks):
                        offset = block * LANES * SIZE
                        {unit_value}
                        store_full(vs + s * row + offset, value)
                    u += row
                scale = scale_at + (unit * u_sample + t * u_step) // (blocks * LANES) + reads * SIZE
                for again in range(reads):
                    gz = gzs + (reads - 1 - again) * row
                    {unsettle}
                    for block in range(blocks):
                        offset = block * LANES * SIZE
                        s0 = lanes(0.0)
                        {from_gz}
                        store_full(gv + offset, total)
                        store_full(gz0 + offset, load_full(gz0 + offset) + load_full(gz + offset))
                    u -= row
                    scale -= SIZE
                gz = pull
                {unsettle}
                for block in range(blocks):
                    offset = block * LANES * SIZE
                    value = load_full(gz0 + offset) + load_full(gz + offset)
                    store_full(gz0 + offset, value)
                    store(gdrive_at + here + offset, value, first(size - block * LANES))
                for j in range(size):
                    for block in range(blocks):
                        offset = block * LANES * SIZE
                        place = G + j * row + offset
                        value = load_full(place)
                        {of_decay}
                        value = decay * value
                        for s in range(reads):
                            gz = gzs + s * row
                            v = vs + s * row
                            value = muladd(broadcast(gz + j * SIZE), load_full(v + offset), value)
                            value = muladd(broadcast(v + j * SIZE), load_full(gz + offset), value)
                        store_full(place, value)
                for block in range(blocks):
                    offset = block * LANES * SIZE
                    s0 = lanes(0.0)
                    {from_gz0}
                    store_full(gh + offset, total)
        for block in range(blocks):
            offset = block * LANES * SIZE
            store_full(gh_at + unit * row + offset, load_full(gh + offset))
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

_NORM = """\
sum_z = lanes(0.0)
for block in range(blocks):
    sum_z = sum_z + load_full(z + block * LANES * SIZE)
store(cell, lanes(0.0), one)
add_total(cell, sum_z)
mean = broadcast(cell) * share
squares = lanes(0.0)
for block in range(blocks):
    offset = block * LANES * SIZE
    inside = first(size - block * LANES)
    store(z + offset, load(z + offset, inside) - mean, inside)
    centred = load_full(z + offset)
    squares = muladd(centred, centred, squares)
store(cell, lanes(0.0), one)
add_total(cell, squares)
steep = 1.0 / sqrt(muladd(broadcast(cell), share, eps))
store(scale, steep, one)
for block in range(blocks):
    offset = block * LANES * SIZE
    store_full(u + offset, load_full(z + offset) * steep)
"""

_COPY = """\
for block in range(blocks):
    store_full(u + block * LANES * SIZE, load_full(z + block * LANES * SIZE))
"""

_SETTLE = """\
{norm}
for block in range(blocks):
    offset = block * LANES * SIZE
    {unit_value}
    store_full(v + offset, value)
"""

_UNSETTLE = """\
sum_x = lanes(0.0)
sum_ux = lanes(0.0)
for block in range(blocks):
    offset = block * LANES * SIZE
    {unit_value}
    passed = load_full(gv + offset)
    {passed}
    {of_norm}
    store_full(gz + offset, passed)
{through_norm}
"""

_OF_NORM = """\
normed = load_full(u + offset)
store_full(sums + offset, muladd(passed, normed, load_full(sums + offset)))
store_full(sums + row + offset, load_full(sums + row + offset) + passed)
passed = passed * load_full(gain_at + offset)
sum_x = sum_x + passed
sum_ux = muladd(passed, normed, sum_ux)
"""

_THROUGH_NORM = """\
store(cell, lanes(0.0), one)
store(cell + LANES * SIZE, lanes(0.0), one)
add_total(cell, sum_x)
add_total(cell + LANES * SIZE, sum_ux)
mean_x = broadcast(cell) * share
mean_ux = broadcast(cell + LANES * SIZE) * share
steep = broadcast(scale)
for block in range(blocks):
    offset = block * LANES * SIZE
    inside = first(size - block * LANES)
    value = load(gz + offset, inside) - mean_x
    store(gz + offset, steep * muladd(-load(u + offset, inside), mean_ux, value), inside)
"""

_UNIT_VALUE = {
    True: "value = muladd(load_full(u + offset), load_full(gain_at + offset), load_full(shift_at + offset))\n",
    False: "value = load_full(u + offset)\n",
}
_NONLINEARITY = {"relu": "value = maximum(value, 0.0)\n", "tanh": "value = tanh(value)\n"}
_SLOPE = {
    "relu": "passed = where(value > 0.0, passed, 0.0)\n",
    "tanh": "passed = passed * muladd(-value, value, lanes(1.0))\n",
}
_WRITTEN = "written = muladd(decay, load_full(place), rate * (v_j * load_full(v + block * LANES * SIZE)))\n"
_OF_RATE = "add_total(sums + 2 * row, total * value)\n"
_OF_DECAY = "add_total(sums + 2 * row + LANES * SIZE, value * load_full(A + j * row + offset))\n"


def _product(matrix: str, vector: str) -> str:
    """``total``, a block of the matrix's product with the vector, added to ``s0``."""
    return _PRODUCT.format(matrix=matrix, vector=vector).replace("COLUMNS", str(COLUMNS))


@functools.cache
def forward(norm: bool, nonlinearity: str) -> Source:
    """From ``drive``, and h and A in their places, to ``y``, ``u``, ``scale``, ``marks``; h and A become the last."""
    unit_value = _UNIT_VALUE[norm] + _NONLINEARITY[nonlinearity]
    arguments = (*HEAD, *f"{_SIZES} {_SHARED} drive_at h_at a_at".split())
    parts = {
        "settle": filled(_SETTLE, norm=_NORM if norm else _COPY, unit_value=unit_value),
        "from_h": _product("matrix_at", "h"),
        "from_v": _product("A", "v"),
        "written": _WRITTEN,
    }
    return Source(filled(_START + _FORWARD, name="forward", arguments=", ".join(arguments), **parts), arguments)


@functools.cache
def backward(norm: bool, nonlinearity: str, rates: bool) -> Source:
    """From ``above``, the gradient of y, and those of the last h and of the last A (plus its transpose) in ``gh`` and
    ``g``, to ``gdrive``, the gradient of the first h in ``gh``, and sums.

    The sums of a part are padded rows: of the gain and of the shift; then, in a register each, twice those of η and λ.
    """
    unit_value = _UNIT_VALUE[norm] + _NONLINEARITY[nonlinearity]
    arguments = (*HEAD, *f"{_SIZES} {_SHARED} above_at gh_at g_at gdrive_at sum_at".split())
    unsettle = filled(
        _UNSETTLE,
        unit_value=unit_value,
        passed=_SLOPE[nonlinearity],
        of_norm=_OF_NORM if norm else "",
        through_norm=_THROUGH_NORM if norm else "",
    )
    parts = {
        "unsettle": unsettle,
        "unit_value": unit_value,
        "from_G": _product("G", "h"),
        "from_gz": _product("A", "gz"),
        "from_gz0": _product("matrix_at", "gz0"),
        "of_rate": _OF_RATE if rates else "",
        "of_decay": _OF_DECAY if rates else "",
    }
    return Source(filled(_START + _BACKWARD, name="backward", arguments=", ".join(arguments), **parts), arguments)
