"""The forward kernel: see :mod:`remanence.ops.fast_weights.cpu_parts`."""

import functools

from remanence._kernels.kernel_source import KernelSource
from remanence._kernels.source_text import fill_template
from remanence.ops.fast_weights.cpu_parts import fill_zeros, if_reset, product, source, unit_value

_FORWARD = """\
    v = work_at + part * (3 * row + LANES * SIZE)
    z = v + row
    boundary = z + row
    cell = boundary + row
    for unit in range(begin, end):
        A = a_at + unit * plane
        h = h_at + unit * row
        for t in range({steps}):
            {reset}
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
variance = muladd(broadcast(cell), share, eps)
steep = 1.0 / sqrt(variance) + 0.0 * variance
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

_WRITTEN = "written = muladd(decay, load_full(place), rate * (v_j * load_full(v + block * LANES * SIZE)))\n"


@functools.cache
def forward(norm: bool, nonlinearity: str, episodes: bool) -> KernelSource:
    """Write the forward kernel.

    It reads ``drive``, h and A, writes ``y``, ``u``, ``scale`` and ``marks``, and overwrites h and A by the last ones.
    """
    settle = fill_template(_SETTLE, norm=_NORM if norm else _COPY, unit_value=unit_value(norm, nonlinearity))
    products = {"from_h": product("matrix_at", "h"), "from_v": product("A", "v")}
    reset = if_reset("t", fill_zeros("h", "row") + fill_zeros("A", "plane"), episodes=episodes)
    parts = {"reset": reset, "settle": settle, "written": _WRITTEN, **products}
    return source("forward", _FORWARD, "drive_at h_at a_at", episodes=episodes, **parts)
