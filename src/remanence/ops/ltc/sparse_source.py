"""Kernels for wirings with few synapses: samples side by side in vector registers, one synapse after the other.

Values lie as [neurons, samples], samples padded to whole registers, so that a unit of work is one register of samples
and the cost goes with the number of synapses. Synapses are sorted by receiver; ``starts`` says where each receiver's
begin, ``sender_at`` how many bytes into the values of a register's samples each sender lies. The units of a part add
up the gradients of the parameters in memory of their own.
"""

import functools
from collections.abc import Sequence
from textwrap import indent

from remanence._kernels.kernel_source import HEAD, KernelSource

_SUMS = """\
c = lanes(0.0)
q = lanes(0.0)
for edge in range(integer(starts_at + i * 8), integer(starts_at + i * 8 + 8)):
    u = load_full(x + integer(sender_at + edge * 8))
    s = sigmoid(muladd(broadcast(edge_at + edge * SIZE), u, broadcast(edge_at + plane + edge * SIZE)))
    c = muladd(broadcast(edge_at + 2 * plane + edge * SIZE), s, c)
    q = muladd(broadcast(edge_at + 3 * plane + edge * SIZE), s, q)
"""
"""Conductances c and currents q that arrive at receiver i from senders at address x."""

_PULL = """\
for edge in range(integer(starts_at + i * 8), integer(starts_at + i * 8 + 8)):
    sender = integer(sender_at + edge * 8)
    u = load_full(x + sender)
    s = sigmoid(muladd(broadcast(edge_at + edge * SIZE), u, broadcast(edge_at + plane + edge * SIZE)))
    pull = muladd(broadcast(edge_at + 2 * plane + edge * SIZE), gq, gc)
    steep = pull * muladd(-s, s, s)
    place = sum_at + (part * edges + edge) * 4 * width
    store_full(place, muladd(pull, s, load_full(place)))
    store_full(place + width, muladd(gq, s, load_full(place + width)))
    store_full(place + 2 * width, load_full(place + 2 * width) + steep)
    store_full(place + 3 * width, muladd(steep, u, load_full(place + 3 * width)))
    store_full(dx + sender, muladd(broadcast(edge_at + 3 * plane + edge * SIZE), steep, load_full(dx + sender)))
"""
"""From gradients gc and gq of receiver i's sums: those of the senders, added at dx, and what the synapses need."""

_START = """\
width = LANES * SIZE
plane = edges * SIZE
for unit in range(begin, end):
"""


def _write_kernel(name: str, arguments: Sequence[str], unit: str) -> KernelSource:
    text = f"def {name}(\n    {', '.join(arguments)},\n):\n" + indent(_START + indent(unit, "    "), "    ")
    return KernelSource(text, tuple(arguments))


_GRAPH = "edges starts_at sender_at edge_at"


@functools.cache
def sum_synapses_forward() -> KernelSource:
    """Write the kernel that computes the sums of every receiver, for values x [units, senders, LANES]."""
    arguments = (*HEAD, *f"senders receivers {_GRAPH} x_at c_at q_at".split())
    unit = """\
x = x_at + unit * senders * width
for i in range(receivers):
    place = (unit * receivers + i) * width
"""
    return _write_kernel(
        "forward",
        arguments,
        unit + indent(_SUMS, "    ") + "    store_full(c_at + place, c)\n    store_full(q_at + place, q)\n",
    )


@functools.cache
def sum_synapses_backward() -> KernelSource:
    """Write the kernel for the gradients of x, added at dx_at, and the sums for the gradients of the parameters."""
    arguments = (*HEAD, *f"senders receivers {_GRAPH} x_at gc_at gq_at dx_at sum_at".split())
    unit = """\
x = x_at + unit * senders * width
dx = dx_at + unit * senders * width
for i in range(receivers):
    gc = load_full(gc_at + (unit * receivers + i) * width)
    gq = load_full(gq_at + (unit * receivers + i) * width)
"""
    return _write_kernel("backward", arguments, unit + indent(_PULL, "    "))


_NEURONS = "time steps neurons"
_KEPT = "delta_at capacitance_at kept_at kept_unit den_at den_unit"


@functools.cache
def evolve_forward(resets: bool) -> KernelSource:
    """Write the kernel for the states of neurons over time.

    It keeps the states of all sub-steps, or of the last two if ``mask`` is 1. P, Q and the states are stored as [units,
    time, neurons, LANES], Δ as [units, time, LANES]. With ``resets`` samples are reset.
    """
    episodes = "reset_at begin_at" if resets else ""
    arguments = (*HEAD, *f"{_NEURONS} mask {_GRAPH} {_KEPT} v_at p_at q_at y_at {episodes}".split())
    unit = """\
row = neurons * width
kept = kept_at + unit * kept_unit
for i in range(neurons):
    store_full(kept + i * width, load_full(v_at + unit * row + i * width))
for t in range(time):
    delta = load_full(delta_at + (unit * time + t) * width)
    now = (unit * time + t) * row
RESET    for k in range(steps):
        at = t * steps + k
        x = kept + (at & mask) * row
        then = kept + ((at + 1) & mask) * row
        den_row = den_at + unit * den_unit + (at & mask) * row
        for i in range(neurons):
"""
    reset = """\
    reset = load_full(reset_at + (unit * time + t) * width)
    for i in range(neurons):
        place = kept + ((t * steps) & mask) * row + i * width
        store_full(place, where(reset != 0.0, load_full(begin_at + unit * row + i * width), load_full(place)))
"""
    unit = unit.replace("RESET", reset if resets else "")
    update = """\
place = i * width
x_now = load_full(x + place)
c = c + load_full(p_at + now + place)
q = q + load_full(q_at + now + place)
den = muladd(delta, c, broadcast(capacitance_at + i * SIZE))
new = muladd(delta, muladd(-c, x_now, q) / den, x_now)
store_full(den_row + place, den)
store_full(then + place, new)
if k == steps - 1:
    store_full(y_at + now + place, new)
"""
    return _write_kernel("forward", arguments, unit + indent(_SUMS + update, " " * 12))


@functools.cache
def evolve_backward(resets: bool) -> KernelSource:
    """Write the kernel for the gradients of the first state, P, Q and C, -Δ times that of Δ, and sums for synapses."""
    results = "dv_at dp_at dq_at moved_at dcapacitance_at sum_at scratch_at"
    episodes = "reset_at y_at dbegin_at" if resets else ""
    arguments = (*HEAD, *f"{_NEURONS} {_GRAPH} {_KEPT} gy_at g_at {results} {episodes}".split())
    unit = """\
row = neurons * width
kept = kept_at + unit * kept_unit
dx = scratch_at + part * 3 * row
gc_row = dx + row
gq_row = dx + 2 * row
for i in range(neurons):
    store_full(dx + i * width, load_full(g_at + unit * row + i * width))
for back in range(time):
    t = time - 1 - back
    delta = load_full(delta_at + (unit * time + t) * width)
    now = (unit * time + t) * row
    moved = lanes(0.0)
    for i in range(neurons):
        store_full(dx + i * width, load_full(dx + i * width) + load_full(gy_at + now + i * width))
        store_full(dp_at + now + i * width, lanes(0.0))
        store_full(dq_at + now + i * width, lanes(0.0))
    for again in range(steps):
        at = t * steps + steps - 1 - again
        x = kept + at * row
        den_row = den_at + unit * den_unit + at * row
        for i in range(neurons):
            place = i * width
            capacitance = broadcast(capacitance_at + i * SIZE)
            new = load_full(x + row + place)
NEW_STATE            h = load_full(dx + place) / load_full(den_row + place)
            gq = h * delta
            gc = -gq * new
            store_full(gq_row + place, gq)
            store_full(gc_row + place, gc)
            store_full(dq_at + now + place, load_full(dq_at + now + place) + gq)
            store_full(dp_at + now + place, load_full(dp_at + now + place) + gc)
            change = h * (load_full(x + place) - new)
            total = dcapacitance_at + part * row + place
            store_full(total, load_full(total) + change)
            moved = muladd(change, capacitance, moved)
            store_full(dx + place, h * capacitance)
        for i in range(neurons):
            gc = load_full(gc_row + i * width)
            gq = load_full(gq_row + i * width)
"""
    # The row of a state before a reset holds the state after it.
    new_state = """\
            if again == 0:
                new = load_full(y_at + now + place)
"""
    unit = unit.replace("NEW_STATE", new_state if resets else "")
    reset = """\
    reset = load_full(reset_at + (unit * time + t) * width)
    for i in range(neurons):
        all = load_full(dx + i * width)
        begin = dbegin_at + unit * row + i * width
        store_full(begin, load_full(begin) + where(reset != 0.0, all, lanes(0.0)))
        store_full(dx + i * width, where(reset != 0.0, lanes(0.0), all))
"""
    close = """\
    store_full(moved_at + (unit * time + t) * width, moved)
RESETfor i in range(neurons):
    store_full(dv_at + unit * row + i * width, load_full(dx + i * width))
"""
    close = close.replace("RESET", reset if resets else "")
    return _write_kernel("backward", arguments, unit + indent(_PULL, " " * 12) + close)
