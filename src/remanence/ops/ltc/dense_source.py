"""Kernels for wirings in which most synapses exist: receivers side by side in vector registers, senders one by one.

A unit of work is a few samples, for which the parameters of a synapse are loaded once; a template line with a ``$``
becomes one line for each of them. Synapses are stored in planes [senders, receivers], receivers padded to whole
registers. The units of a part add up the gradients of the parameters in memory of their own.
"""

import functools
from collections.abc import Sequence
from textwrap import indent

from remanence._kernels.kernel_source import HEAD, KernelSource

_SUMS = """\
c$ = lanes(0.0)
q$ = lanes(0.0)
for j in range(senders):
    edge = edge_at + j * row + offset
    slope = load_full(edge)
    shift = load_full(edge + plane)
    weight = load_full(edge + 2 * plane)
    drive = load_full(edge + 3 * plane)
    s$ = sigmoid(muladd(slope, where(slope != 0.0, broadcast(x$ + j * SIZE), 0.0), shift))
    c$ = muladd(weight, s$, c$)
    q$ = muladd(drive, s$, q$)
"""
"""Conductances c and currents q of a block of receivers, from senders at address x.

The slope is 0 where there is no synapse, so infinite and NaN values do not spread there.
"""

_PULL = """\
for j in range(senders):
    u$ = broadcast(x$ + j * SIZE)
    d$ = lanes(0.0)
    for block in range(blocks):
        offset = block * LANES * SIZE
        edge = edge_at + j * row + offset
        slope = load_full(edge)
        shift = load_full(edge + plane)
        potential = load_full(edge + 2 * plane)
        effect = load_full(edge + 3 * plane)
        place = sum_at + part * 4 * plane + j * row + offset
        sum_s = load_full(place)
        sum_e = load_full(place + plane)
        sum_d = load_full(place + 2 * plane)
        sum_u = load_full(place + 3 * plane)
        gq$ = load_full(gq$_at + offset)
        s$ = sigmoid(muladd(slope, u$, shift))
        pull$ = muladd(potential, gq$, load_full(gc$_at + offset))
        sum_s = muladd(pull$, s$, sum_s)
        sum_e = muladd(gq$, s$, sum_e)
        steep$ = pull$ * muladd(-s$, s$, s$)
        sum_d = sum_d + steep$
        sum_u = muladd(steep$, u$, sum_u)
        d$ = muladd(effect, steep$, d$)
        store_full(place, sum_s)
        store_full(place + plane, sum_e)
        store_full(place + 2 * plane, sum_d)
        store_full(place + 3 * plane, sum_u)
    add_total(dx$ + j * SIZE, d$)
"""
"""From gradients gc and gq of the two sums: those of the senders, added at dx, and the sums for the parameters."""

_UNIT = """\
blocks = (receivers + LANES - 1) // LANES
row = blocks * LANES * SIZE
plane = senders * row
for unit in range(begin, end):
"""

_SAMPLE = """\
    n$ = unit * MANY + $ if unit * MANY + $ < samples else samples - 1
"""
"""The last unit repeats the last sample if samples are missing: the same numbers are written to the same place."""

_BLOCK = """\
for block in range(blocks):
    offset = block * LANES * SIZE
    inside = first(receivers - block * LANES)
"""


def _write_kernel(name: str, arguments: Sequence[str], body: str, many: int) -> KernelSource:
    lines = []
    for line in body.replace("MANY", str(many)).splitlines():
        lines += [line.replace("$", str(m)) for m in range(many)] if "$" in line else [line]
    text = f"def {name}(\n    {', '.join(arguments)},\n):\n" + indent("\n".join(lines), "    ") + "\n"
    return KernelSource(text, tuple(arguments))


@functools.cache
def sum_synapses_forward(many: int) -> KernelSource:
    """Write the kernel that computes the sums of every receiver, for samples x [samples, senders]."""
    arguments = (*HEAD, *"samples senders receivers x_at edge_at c_at q_at".split())
    body = _UNIT + _SAMPLE + "    x$ = x_at + n$ * senders * SIZE\n"
    block = _BLOCK + indent(
        _SUMS
        + "store(c_at + n$ * receivers * SIZE + offset, c$, inside)\n"
        + "store(q_at + n$ * receivers * SIZE + offset, q$, inside)\n",
        "    ",
    )
    return _write_kernel("forward", arguments, body + indent(block, "    "), many)


@functools.cache
def sum_synapses_backward(many: int) -> KernelSource:
    """Write the kernel for the gradients of x, added at dx_at, and the sums for the gradients of the parameters."""
    arguments = (
        *HEAD,
        *"samples senders receivers x_at edge_at gc_at gc_row gq_at gq_row dx_at sum_at scratch_at".split(),
    )
    unit = """\
x$ = x_at + n$ * senders * SIZE
dx$ = dx_at + n$ * senders * SIZE
count$ = receivers if unit * MANY + $ < samples else 0
gc$_at = scratch_at + (part * 2 * MANY + $) * row
gq$_at = scratch_at + (part * 2 * MANY + MANY + $) * row
for block in range(blocks):
    offset = block * LANES * SIZE
    store_full(gc$_at + offset, load(gc_at + n$ * gc_row + offset, first(count$ - block * LANES)))
    store_full(gq$_at + offset, load(gq_at + n$ * gq_row + offset, first(count$ - block * LANES)))
"""
    body = _UNIT + _SAMPLE + indent(unit + _PULL, "    ")
    return _write_kernel("backward", arguments, body, many)


_NEURONS = "samples time steps receivers"
_OUTSIDE = "delta_at delta_sample delta_step capacitance_at edge_at kept_at kept_sample den_at den_sample"


@functools.cache
def evolve_forward(many: int, resets: bool) -> KernelSource:
    """Write the kernel for the states of neurons over time.

    It keeps the states of all sub-steps, or of the last two if ``mask`` is 1. With ``resets`` samples are reset.
    """
    outside = "v_at p_at p_sample p_step q_at q_sample q_step"
    arguments = (*HEAD, *f"{_NEURONS} mask {outside} {_OUTSIDE} y_at{' reset_at begin_at' if resets else ''}".split())
    start = """\
kept$ = kept_at + n$ * kept_sample
for block in range(blocks):
    offset = block * LANES * SIZE
    store_full(kept$ + offset, load(v_at + n$ * receivers * SIZE + offset, first(receivers - block * LANES)))
"""
    sub_step = """\
at = t * steps + k
x$ = kept$ + (at & mask) * row
then$ = kept$ + ((at + 1) & mask) * row
"""
    update = """\
capacitance = load_full(capacitance_at + offset)
x_now$ = load_full(x$ + offset)
c$ = c$ + load(p_at + n$ * p_sample + t * p_step + offset, inside)
q$ = q$ + load(q_at + n$ * q_sample + t * q_step + offset, inside)
den$ = muladd(delta$, c$, capacitance)
new$ = muladd(delta$, muladd(-c$, x_now$, q$) / den$, x_now$)
store_full(den_at + n$ * den_sample + (at & mask) * row + offset, den$)
store_full(then$ + offset, new$)
if k == steps - 1:
    store(y_at + (n$ * time + t) * receivers * SIZE + offset, new$, inside)
"""
    reset = """\
    reset$ = broadcast(reset_at + (n$ * time + t) * SIZE)
    for block in range(blocks):
        offset = block * LANES * SIZE
        inside = first(receivers - block * LANES)
        begin$ = load(begin_at + n$ * receivers * SIZE + offset, inside)
        place$ = kept$ + ((t * steps) & mask) * row + offset
        store_full(place$, where(reset$ != 0.0, begin$, load_full(place$)))
"""
    loop = (
        "for t in range(time):\n    delta$ = broadcast(delta_at + n$ * delta_sample + t * delta_step)\n"
        + (reset if resets else "")
        + "    for k in range(steps):\n"
        + indent(sub_step + _BLOCK + indent(_SUMS + update, "    "), "        ")
    )
    body = _UNIT.replace("plane", "senders = receivers\nplane", 1) + _SAMPLE + indent(start + loop, "    ")
    return _write_kernel("forward", arguments, body, many)


@functools.cache
def evolve_backward(many: int, resets: bool) -> KernelSource:
    """Write the kernel for the gradients of the first state, P, Q and C, -Δ times that of Δ, and sums for synapses."""
    results = "dv_at dp_at dq_at moved_at dcapacitance_at sum_at scratch_at"
    above = "gy_at gy_sample gy_step g_at g_sample"
    episodes = "reset_at y_at dbegin_at" if resets else ""
    arguments = (*HEAD, *f"{_NEURONS} {_OUTSIDE} {above} {results} {episodes}".split())
    start = """\
kept$ = kept_at + n$ * kept_sample
count$ = receivers if unit * MANY + $ < samples else 0
dx$ = scratch_at + (part * 5 * MANY + $) * row
gc$_at = dx$ + MANY * row
gq$_at = dx$ + 2 * MANY * row
sum_p$ = dx$ + 3 * MANY * row
sum_q$ = dx$ + 4 * MANY * row
for block in range(blocks):
    offset = block * LANES * SIZE
    store_full(dx$ + offset, load(g_at + n$ * g_sample + offset, first(count$ - block * LANES)))
"""
    begin = """\
t = time - 1 - back
delta$ = broadcast(delta_at + n$ * delta_sample + t * delta_step)
moved$ = moved_at + (n$ * time + t) * SIZE
for block in range(blocks):
    offset = block * LANES * SIZE
    above$ = load(gy_at + n$ * gy_sample + t * gy_step + offset, first(count$ - block * LANES))
    store_full(dx$ + offset, load_full(dx$ + offset) + above$)
    store_full(sum_p$ + offset, lanes(0.0))
    store_full(sum_q$ + offset, lanes(0.0))
"""
    sub_step = """\
at = t * steps + steps - 1 - again
x$ = kept$ + at * row
for block in range(blocks):
    offset = block * LANES * SIZE
    capacitance = load_full(capacitance_at + offset)
    total = load_full(dcapacitance_at + part * row + offset)
    new$ = load_full(x$ + row + offset)
NEW_STATE    h$ = load_full(dx$ + offset) / load_full(den_at + n$ * den_sample + at * row + offset)
    gq$ = h$ * delta$
    gc$ = -gq$ * new$
    store_full(gq$_at + offset, gq$)
    store_full(gc$_at + offset, gc$)
    store_full(sum_q$ + offset, load_full(sum_q$ + offset) + gq$)
    store_full(sum_p$ + offset, load_full(sum_p$ + offset) + gc$)
    change$ = h$ * (load_full(x$ + offset) - new$)
    total = total + change$
    add_total(moved$, change$ * capacitance)
    store_full(dx$ + offset, h$ * capacitance)
    store_full(dcapacitance_at + part * row + offset, total)
"""
    # The row of a state before a reset holds the state after it.
    new_state = """\
    if again == 0:
        new$ = load(y_at + (n$ * time + t) * receivers * SIZE + offset, first(receivers - block * LANES))
"""
    reset = """\
reset$ = broadcast(reset_at + (n$ * time + t) * SIZE)
for block in range(blocks):
    offset = block * LANES * SIZE
    all$ = load_full(dx$ + offset)
    begin$ = dbegin_at + n$ * receivers * SIZE + offset
    of_first$ = where(reset$ != 0.0, all$, lanes(0.0)) + load(begin$, first(count$ - block * LANES))
    store(begin$, of_first$, first(count$ - block * LANES))
    store_full(dx$ + offset, where(reset$ != 0.0, lanes(0.0), all$))
"""
    sub_step = sub_step.replace("NEW_STATE", new_state if resets else "")
    finish = """\
for block in range(blocks):
    offset = block * LANES * SIZE
    place$ = (n$ * time + t) * receivers * SIZE + offset
    store(dp_at + place$, load_full(sum_p$ + offset), first(count$ - block * LANES))
    store(dq_at + place$, load_full(sum_q$ + offset), first(count$ - block * LANES))
"""
    close = """\
for block in range(blocks):
    offset = block * LANES * SIZE
    store(dv_at + n$ * receivers * SIZE + offset, load_full(dx$ + offset), first(count$ - block * LANES))
"""
    finish += reset if resets else ""
    loop = "for back in range(time):\n" + indent(
        begin + "for again in range(steps):\n" + indent(sub_step + _PULL, "    ") + finish,
        "    ",
    )
    body = _UNIT.replace("plane", "senders = receivers\nplane", 1) + _SAMPLE + indent(start + loop + close, "    ")
    return _write_kernel("backward", arguments, body, many)
