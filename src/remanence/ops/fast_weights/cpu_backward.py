"""The backward kernel: see :mod:`remanence.ops.fast_weights.cpu_parts`."""

import functools

from remanence._kernels.kernel_source import KernelSource
from remanence._kernels.source_text import fill_template
from remanence.ops.fast_weights.cpu_parts import fill_zeros, if_reset, product, source, unit_value

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
        steps = {steps}
        taken = (steps + every - 1) // every
        for behind in range(taken):
            segment = taken - 1 - behind
            begins = segment * every
            ends = begins + every if begins + every < steps else steps
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
                {reset_history}
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
                {reset}
        for block in range(blocks):
            offset = block * LANES * SIZE
            store_full(gh_at + unit * row + offset, load_full(gh + offset))
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

_SLOPE = {
    "relu": "passed = where(value > 0.0, passed, 0.0)\n",
    "tanh": "passed = passed * muladd(-value, value, lanes(1.0))\n",
}
_OF_RATE = "add_total(sums + 2 * row, total * value)\n"
_OF_DECAY = "add_total(sums + 2 * row + LANES * SIZE, value * load_full(A + j * row + offset))\n"


@functools.cache
def backward(norm: bool, nonlinearity: str, rates: bool, episodes: bool) -> KernelSource:
    """Write the backward kernel.

    It reads ``above``, the gradient of y, and in ``gh`` and ``g`` those of the last h and of the last A plus its
    transpose. It writes ``gdrive``, the gradient of the first h to ``gh``, and sums.

    The sums of a part are padded rows: of the gain and of the shift; then twice those of η and λ, in a register each.
    """
    unit = unit_value(norm, nonlinearity)
    through = {"of_norm": _OF_NORM, "through_norm": _THROUGH_NORM} if norm else {"of_norm": "", "through_norm": ""}
    parts = {
        "unsettle": fill_template(_UNSETTLE, unit_value=unit, passed=_SLOPE[nonlinearity], **through),
        "unit_value": unit,
        "from_G": product("G", "h"),
        "from_gz": product("A", "gz"),
        "from_gz0": product("matrix_at", "gz0"),
        "of_rate": _OF_RATE if rates else "",
        "of_decay": _OF_DECAY if rates else "",
        "reset_history": if_reset(
            "begins + i + 1", fill_zeros("history + (i + 1) * plane", "plane"), episodes=episodes
        ),
        "reset": if_reset("t", fill_zeros("gh", "row") + fill_zeros("G", "plane"), episodes=episodes),
    }
    return source("backward", _BACKWARD, "above_at gh_at g_at gdrive_at sum_at", episodes=episodes, **parts)
