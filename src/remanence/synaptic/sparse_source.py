"""Kernels for wirings with few synapses: samples side by side in vector registers, one synapse after the other.

Values lie as [neurons, samples], samples padded to whole registers, so that a unit of work is one register of samples
and the cost goes with the number of synapses. Synapses are sorted by receiver; ``starts`` says where each receiver's
begin, ``sender_at`` how many bytes into the values of a register's samples each sender lies. The units of a part add
up the gradients of the parameters in memory of their own.
"""

from collections.abc import Sequence
from textwrap import indent

from remanence.synaptic.dense_source import HEAD, Source

_SUMS = """\
c = lanes(0.0)
q = lanes(0.0)
for edge in range(integer(starts_at + i * 8), integer(starts_at + i * 8 + 8)):
    u = load(x + integer(sender_at + edge * 8), all)
    s = sigmoid(muladd(spread(edge_at + edge * SIZE), u, spread(edge_at + plane + edge * SIZE)))
    c = muladd(spread(edge_at + 2 * plane + edge * SIZE), s, c)
    q = muladd(spread(edge_at + 3 * plane + edge * SIZE), s, q)
"""
"""Conductances c and currents q that arrive at receiver i from senders at address x."""

_PULL = """\
for edge in range(integer(starts_at + i * 8), integer(starts_at + i * 8 + 8)):
    sender = integer(sender_at + edge * 8)
    u = load(x + sender, all)
    s = sigmoid(muladd(spread(edge_at + edge * SIZE), u, spread(edge_at + plane + edge * SIZE)))
    pull = muladd(spread(edge_at + 2 * plane + edge * SIZE), gq, gc)
    steep = pull * muladd(-s, s, s)
    place = sum_at + (part * edges + edge) * 4 * width
    store(place, muladd(pull, s, load(place, all)), all)
    store(place + width, muladd(gq, s, load(place + width, all)), all)
    store(place + 2 * width, load(place + 2 * width, all) + steep, all)
    store(place + 3 * width, muladd(steep, u, load(place + 3 * width, all)), all)
    store(dx + sender, muladd(spread(edge_at + 3 * plane + edge * SIZE), steep, load(dx + sender, all)), all)
"""
"""From gradients gc and gq of receiver i's sums: those of the senders, added at dx, and what the synapses need."""

_START = """\
width = LANES * SIZE
plane = edges * SIZE
all = first(LANES)
for unit in range(begin, end):
"""


def _function(name: str, arguments: Sequence[str], unit: str) -> Source:
    text = f"def {name}(\n    {', '.join(arguments)},\n):\n" + indent(_START + indent(unit, "    "), "    ")
    return Source(text, tuple(arguments))


_GRAPH = "edges starts_at sender_at edge_at"


def arriving_forward() -> Source:
    """Sums at every receiver, for values x [units, senders, LANES]."""
    arguments = (*HEAD, *f"senders receivers {_GRAPH} x_at c_at q_at".split())
    unit = """\
x = x_at + unit * senders * width
for i in range(receivers):
    place = (unit * receivers + i) * width
"""
    return _function(
        "forward",
        arguments,
        unit + indent(_SUMS, "    ") + "    store(c_at + place, c, all)\n    store(q_at + place, q, all)\n",
    )


def arriving_backward() -> Source:
    """Gradients of x, added at dx_at, and sums for those of the synapses, from those of both sums."""
    arguments = (*HEAD, *f"senders receivers {_GRAPH} x_at gc_at gq_at dx_at sum_at".split())
    unit = """\
x = x_at + unit * senders * width
dx = dx_at + unit * senders * width
for i in range(receivers):
    gc = load(gc_at + (unit * receivers + i) * width, all)
    gq = load(gq_at + (unit * receivers + i) * width, all)
"""
    return _function("backward", arguments, unit + indent(_PULL, "    "))


_NEURONS = "time steps neurons"
_KEPT = "rate_at capacitance_at kept_at kept_unit den_at den_unit"


def evolve_forward() -> Source:
    """States of neurons over time; those of all sub-steps are kept, or of the last two if ``mask`` is 1.

    What comes from outside and the states lie as [units, time, neurons, LANES], rates as [units, time, LANES].
    """
    arguments = (*HEAD, *f"{_NEURONS} mask {_GRAPH} {_KEPT} v_at p_at q_at y_at".split())
    unit = """\
row = neurons * width
kept = kept_at + unit * kept_unit
for i in range(neurons):
    store(kept + i * width, load(v_at + unit * row + i * width, all), all)
for t in range(time):
    rate = load(rate_at + (unit * time + t) * width, all)
    now = (unit * time + t) * row
    for k in range(steps):
        at = t * steps + k
        x = kept + (at & mask) * row
        then = kept + ((at + 1) & mask) * row
        den_row = den_at + unit * den_unit + (at & mask) * row
        for i in range(neurons):
"""
    update = """\
place = i * width
inertia = rate * spread(capacitance_at + i * SIZE)
den = inertia + c + load(p_at + now + place, all)
new = muladd(inertia, load(x + place, all), q + load(q_at + now + place, all)) / den
store(den_row + place, den, all)
store(then + place, new, all)
if k == steps - 1:
    store(y_at + now + place, new, all)
"""
    return _function("forward", arguments, unit + indent(_SUMS + update, " " * 12))


def evolve_backward() -> Source:
    """Gradients of the first state, of what comes from outside, of rate and C, and sums for those of the synapses."""
    results = "dv_at dp_at dq_at drate_at dcapacitance_at sum_at scratch_at"
    arguments = (*HEAD, *f"{_NEURONS} {_GRAPH} {_KEPT} gy_at g_at {results}".split())
    unit = """\
row = neurons * width
kept = kept_at + unit * kept_unit
dx = scratch_at + part * 3 * row
gc_row = dx + row
gq_row = dx + 2 * row
for i in range(neurons):
    store(dx + i * width, load(g_at + unit * row + i * width, all), all)
for back in range(time):
    t = time - 1 - back
    rate = load(rate_at + (unit * time + t) * width, all)
    now = (unit * time + t) * row
    drate = lanes(0.0)
    for i in range(neurons):
        store(dx + i * width, load(dx + i * width, all) + load(gy_at + now + i * width, all), all)
        store(dp_at + now + i * width, lanes(0.0), all)
        store(dq_at + now + i * width, lanes(0.0), all)
    for again in range(steps):
        at = t * steps + steps - 1 - again
        x = kept + at * row
        den_row = den_at + unit * den_unit + at * row
        for i in range(neurons):
            place = i * width
            capacitance = spread(capacitance_at + i * SIZE)
            new = load(x + row + place, all)
            gq = load(dx + place, all) / load(den_row + place, all)
            gc = -gq * new
            store(gq_row + place, gq, all)
            store(gc_row + place, gc, all)
            store(dq_at + now + place, load(dq_at + now + place, all) + gq, all)
            store(dp_at + now + place, load(dp_at + now + place, all) + gc, all)
            change = gq * (load(x + place, all) - new)
            total = dcapacitance_at + part * row + place
            store(total, muladd(change, rate, load(total, all)), all)
            drate = muladd(change, capacitance, drate)
            store(dx + place, gq * capacitance * rate, all)
        for i in range(neurons):
            gc = load(gc_row + i * width, all)
            gq = load(gq_row + i * width, all)
"""
    close = """\
    store(drate_at + (unit * time + t) * width, drate, all)
for i in range(neurons):
    store(dv_at + unit * row + i * width, load(dx + i * width, all), all)
"""
    return _function("backward", arguments, unit + indent(_PULL, " " * 12) + close)
