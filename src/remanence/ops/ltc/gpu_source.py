"""Kernels for GPUs: a program takes a sample through all of time; tiles of receivers by senders.

The states and the gradients of all neurons, which one thread writes and another reads, go through memory, with a
barrier between. Programs of the backward kernels take several samples each and add up the gradients of the synapses in
memory of their own, without atomic additions, so that the same call always gives the same bits. Offsets have 64 bits.
"""

TEXT = '''\
import triton
import triton.language as tl

NUMBERS = "samples time steps mask delta_sample delta_step kept_sample den_sample".split()


# tl.sum, tl.zeros and tl.sigmoid are kernels themselves, which the interpreter cannot call unless it was on when Triton
# was imported.
@triton.jit
def add(a, b):
    return a + b


@triton.jit
def sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def sums(x_at, planes_at, i, receivers, senders, ROWS: tl.constexpr, COLUMNS: tl.constexpr, REAL: tl.constexpr):
    """Conductance and current at receivers i, from senders at x_at."""
    plane = tl.cast(receivers, tl.int64) * senders
    c, q = tl.full([ROWS], 0, REAL), tl.full([ROWS], 0, REAL)
    for first in range(0, senders, COLUMNS):
        j = first + tl.arange(0, COLUMNS)
        tile = planes_at + i.to(tl.int64)[:, None] * senders + j[None, :]
        inside = (i < receivers)[:, None] & (j < senders)[None, :]
        x = tl.load(x_at + j, j < senders, 0.0)[None, :]
        slope = tl.load(tile, inside, 0.0)  # 0 where there is no synapse: infinities and NaN do not pass there
        s = sigmoid(slope * tl.where(slope != 0, x, 0.0) + tl.load(tile + plane, inside, 0.0))
        c += tl.reduce(tl.load(tile + 2 * plane, inside, 0.0) * s, 1, add)
        q += tl.reduce(tl.load(tile + 3 * plane, inside, 0.0) * s, 1, add)
    return c, q


@triton.jit
def pull(
    x_at, planes_at, gc_at, gq_at, dx_at, sums_at, receivers, senders,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, REAL: tl.constexpr,
):
    """From the gradients of both sums: those of the senders, added at dx_at, and what the synapses need."""
    plane = tl.cast(receivers, tl.int64) * senders
    for first in range(0, senders, COLUMNS):
        j = first + tl.arange(0, COLUMNS)
        x = tl.load(x_at + j, j < senders, 0.0)[None, :]
        d = tl.full([COLUMNS], 0, REAL)
        for top in range(0, receivers, ROWS):
            i = top + tl.arange(0, ROWS)
            inside = (i < receivers)[:, None] & (j < senders)[None, :]
            place = i.to(tl.int64)[:, None] * senders + j[None, :]
            tile, total = planes_at + place, sums_at + place
            gc = tl.load(gc_at + i, i < receivers, 0.0)[:, None]
            gq = tl.load(gq_at + i, i < receivers, 0.0)[:, None]
            s = sigmoid(tl.load(tile, inside, 0.0) * x + tl.load(tile + plane, inside, 0.0))
            p = tl.load(tile + 2 * plane, inside, 0.0) * gq + gc
            steep = p * (s - s * s)
            tl.store(total, tl.load(total, inside, 0.0) + p * s, inside)
            tl.store(total + plane, tl.load(total + plane, inside, 0.0) + gq * s, inside)
            tl.store(total + 2 * plane, tl.load(total + 2 * plane, inside, 0.0) + steep, inside)
            tl.store(total + 3 * plane, tl.load(total + 3 * plane, inside, 0.0) + steep * x, inside)
            d += tl.reduce(tl.load(tile + 3 * plane, inside, 0.0) * steep, 0, add)
        tl.store(dx_at + j, tl.load(dx_at + j, j < senders, 0.0) + d, j < senders)


@triton.jit
def sum_synapses_forward(
    receivers, senders, x_at, planes_at, c_at, q_at,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, REAL: tl.constexpr,
):
    sample = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    c, q = sums(x_at + sample * senders, planes_at, i, receivers, senders, ROWS, COLUMNS, REAL)
    tl.store(c_at + sample * receivers + i, c, i < receivers)
    tl.store(q_at + sample * receivers + i, q, i < receivers)


@triton.jit(do_not_specialize=NUMBERS)
def sum_synapses_backward(
    samples, receivers, senders, x_at, planes_at, gc_at, gq_at, dx_at, sums_at,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, REAL: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    total = sums_at + program * 4 * receivers * senders
    for sample in range(program, samples, tl.num_programs(0)):
        row, gradients = sample * senders, sample * receivers
        pull(
            x_at + row, planes_at, gc_at + gradients, gq_at + gradients, dx_at + row, total, receivers, senders,
            ROWS, COLUMNS, REAL,
        )
        tl.debug_barrier()


@triton.jit(do_not_specialize=NUMBERS)
def evolve_forward(
    time, steps, neurons, mask, v_at, p_at, q_at, delta_at, delta_sample, delta_step, capacitance_at, planes_at,
    kept_at, kept_sample, den_at, den_sample, y_at, reset_at, first_at,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, REAL: tl.constexpr, RESETS: tl.constexpr,
):
    sample = tl.program_id(0).to(tl.int64)
    kept, den = kept_at + sample * kept_sample, den_at + sample * den_sample
    for top in range(0, neurons, ROWS):
        i = top + tl.arange(0, ROWS)
        tl.store(kept + i, tl.load(v_at + sample * neurons + i, i < neurons), i < neurons)
    tl.debug_barrier()
    for tick in range(time):
        t = tl.cast(tick, tl.int64)
        delta = tl.load(delta_at + sample * delta_sample + t * delta_step)
        now = (sample * time + t) * neurons
        if RESETS:
            if tl.load(reset_at + sample * time + t) != 0:
                for top in range(0, neurons, ROWS):
                    i = top + tl.arange(0, ROWS)
                    first = tl.load(first_at + sample * neurons + i, i < neurons)
                    tl.store(kept + ((t * steps) & mask) * neurons + i, first, i < neurons)
                tl.debug_barrier()
        for k in range(steps):
            at = t * steps + k
            before, after = kept + (at & mask) * neurons, kept + ((at + 1) & mask) * neurons
            for top in range(0, neurons, ROWS):
                i = top + tl.arange(0, ROWS)
                inside = i < neurons
                c, q = sums(before, planes_at, i, neurons, neurons, ROWS, COLUMNS, REAL)
                x = tl.load(before + i, inside, 0.0)
                c += tl.load(p_at + now + i, inside, 0.0)
                q += tl.load(q_at + now + i, inside, 0.0)
                below = tl.load(capacitance_at + i, inside, 1.0) + delta * c
                new = x + delta * ((q - c * x) / below)
                tl.store(den + (at & mask) * neurons + i, below, inside)
                tl.store(after + i, new, inside)
                tl.store(y_at + now + i, new, inside)
            tl.debug_barrier()


@triton.jit(do_not_specialize=NUMBERS)
def evolve_backward(
    samples, time, steps, neurons, delta_at, delta_sample, delta_step, capacitance_at, planes_at,
    kept_at, kept_sample, den_at, den_sample, gy_at, g_at, dv_at, dp_at, dq_at, moved_at, dcapacitance_at,
    sums_at, scratch_at, reset_at, y_at, dfirst_at,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, REAL: tl.constexpr, RESETS: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    total = sums_at + program * 4 * neurons * neurons
    of_capacitance = dcapacitance_at + program * neurons
    gc_at = scratch_at + program * 2 * neurons
    gq_at = gc_at + neurons
    for sample in range(program, samples, tl.num_programs(0)):
        kept, den, dx = kept_at + sample * kept_sample, den_at + sample * den_sample, dv_at + sample * neurons
        for top in range(0, neurons, ROWS):
            i = top + tl.arange(0, ROWS)
            tl.store(dx + i, tl.load(g_at + sample * neurons + i, i < neurons), i < neurons)
        for back in range(time):
            t = tl.cast(time - 1 - back, tl.int64)
            delta = tl.load(delta_at + sample * delta_sample + t * delta_step)
            now = (sample * time + t) * neurons
            of_moved = tl.full([ROWS], 0, REAL)
            for again in range(steps):
                at = t * steps + steps - 1 - again
                tl.debug_barrier()
                for top in range(0, neurons, ROWS):
                    i = top + tl.arange(0, ROWS)
                    inside = i < neurons
                    g = tl.load(dx + i, inside, 0.0)
                    p, q = tl.full([ROWS], 0, REAL), tl.full([ROWS], 0, REAL)
                    if again == 0:
                        g += tl.load(gy_at + now + i, inside, 0.0)
                    else:
                        p += tl.load(dp_at + now + i, inside, 0.0)
                        q += tl.load(dq_at + now + i, inside, 0.0)
                    capacitance = tl.load(capacitance_at + i, inside, 1.0)
                    new = tl.load(kept + (at + 1) * neurons + i, inside, 0.0)
                    if RESETS:
                        if again == 0:  # a reset has written over the state before it
                            new = tl.load(y_at + now + i, inside, 0.0)
                    h = g / tl.load(den + at * neurons + i, inside, 1.0)
                    gq = h * delta
                    gc = -gq * new
                    tl.store(gq_at + i, gq, inside)
                    tl.store(gc_at + i, gc, inside)
                    tl.store(dp_at + now + i, p + gc, inside)
                    tl.store(dq_at + now + i, q + gq, inside)
                    change = h * (tl.load(kept + at * neurons + i, inside, 0.0) - new)
                    of_moved += change * capacitance
                    tl.store(of_capacitance + i, tl.load(of_capacitance + i, inside, 0.0) + change, inside)
                    tl.store(dx + i, h * capacitance, inside)
                tl.debug_barrier()
                pull(
                    kept + at * neurons, planes_at, gc_at, gq_at, dx, total, neurons, neurons, ROWS, COLUMNS, REAL
                )
            tl.store(moved_at + sample * time + t, tl.reduce(of_moved, 0, add))
            tl.debug_barrier()
            if RESETS:
                if tl.load(reset_at + sample * time + t) != 0:
                    for top in range(0, neurons, ROWS):
                        i = top + tl.arange(0, ROWS)
                        of_first = dfirst_at + sample * neurons + i
                        g = tl.load(dx + i, i < neurons, 0.0)
                        tl.store(of_first, tl.load(of_first, i < neurons, 0.0) + g, i < neurons)
                        tl.store(dx + i, tl.full([ROWS], 0, REAL), i < neurons)
                    tl.debug_barrier()
'''
