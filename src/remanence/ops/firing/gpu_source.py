"""The firing of neurons as Triton source.

A program runs ``SAMPLES`` samples over all time steps. The neurons of a level fire together, ``BLOCK // SAMPLES`` at
once; then all threads of the program are synchronised. A neuron reads the values of its senders from memory: the new
ones, or those of the previous firing.
"""

import torch

from remanence._kernels.source_text import fill_template
from remanence.ops.scan.pointwise_graph import Graph
from remanence.ops.scan.triton_step import list_placeholders, real_type, write_call, write_step_function, write_tuple

_MODULE = """\
import triton
import triton.language as tl
from triton.language.extra import libdevice


{function}


@triton.jit(do_not_specialize=["time", "ticks", "batch", "levels"])
def {name}(
    {arguments},
    order_at, keep_at, level_at, most_at, first_at, other_at, shift_at, weight_at,
    time, ticks, batch, levels, BLOCK: tl.constexpr, SAMPLES: tl.constexpr,
):
    steps = time * ticks
    place = tl.arange(0, BLOCK)
    sample = tl.program_id(0).to(tl.int64) * SAMPLES + place % SAMPLES
    keep = tl.load(keep_at).to({real})
    for i in range(steps):
        s = tl.cast({firing}, tl.int64)  # offsets have 64 bits
        {renew}
        for level in range(levels):
            end = tl.load(level_at + level + 1)
            for begin in range(tl.load(level_at + level), end, BLOCK // SAMPLES):
                k = begin + place // SAMPLES
                live = (k < end) & (sample < batch)
                a = tl.load(order_at + k, k < end, 0)
                e = tl.load(first_at + a)
                last = tl.load(first_at + a + 1)
                {begin}
                for _ in range(tl.load(most_at + level)):
                    heard = live & (e < last)
                    firing = s + tl.load(shift_at + e, heard, 0)
                    at = (tl.load(other_at + e, heard, 0) * rows + firing) * batch + sample
                    weight = tl.load(weight_at + e, heard, 0.0).to({real})
                    value = tl.load(held_at + at, heard & (firing < rows), 0.0).to({real})
                    {replace}
                    total += weight * value
                    e += 1
                {fire}
            tl.debug_barrier()
"""


def forward_source(graph: Graph, dtype: torch.dtype, *, resets: bool = False) -> str:
    """Write the kernel ``forward``, from ``drive`` to ``held``, the values (the first are given), and ``before``."""
    real = real_type(dtype)
    return fill_template(
        _MODULE,
        function=write_step_function("function", graph, real),
        name="forward",
        arguments="drive_at, held_at, before_at" + (", reset_at, anew_at" if resets else ""),
        real=real,
        firing="i",
        renew=_write_renewal("s", "True") if resets else "",
        replace=_write_lines(
            "first = tl.load(other_at + e, heard, 0) * batch + sample",
            f"other = tl.load(anew_at + first, heard & renewed, 0.0).to({real})",
            "value = tl.where(renewed & (firing == s), other, value)",
        )
        if resets
        else "",
        begin=_write_lines(
            "rows = steps + 1",
            f"own = tl.load(held_at + (a * rows + s) * batch + sample, live, 0.0).to({real})",
            *(
                [f"own = tl.where(renewed, tl.load(anew_at + a * batch + sample, live & renewed, 0.0).to({real}), own)"]
                if resets
                else []
            ),
            "total = keep * own",
            f"total += tl.load(drive_at + (a * time + s // ticks) * batch + sample, live, 0.0).to({real})",
        ),
        fire=_write_lines(
            "state0 = total",
            f"{write_tuple(['n'])} = {write_call('function', [*list_placeholders(graph), 'BLOCK'])}",
            "tl.store(held_at + (a * rows + s + 1) * batch + sample, n, live)",
            "tl.store(before_at + (a * steps + s) * batch + sample, total, live)",
        ),
    )


def backward_source(graph: Graph, dtype: torch.dtype, *, resets: bool = False) -> str:
    """Write the kernel ``backward``, from ``above`` to ``held``, the gradients of f's arguments."""
    real = real_type(dtype)
    return fill_template(
        _MODULE,
        function=write_step_function("function", graph, real),
        name="backward",
        arguments="above_at, held_at, before_at" + (", reset_at" if resets else ""),
        real=real,
        firing="steps - 1 - i",
        renew=_write_renewal("(s + 1)", "(s + 1 < steps)") if resets else "",
        replace="value = tl.where(renewed & (firing == s + 1), 0.0, value)" if resets else "",
        begin=_write_lines(
            "rows = steps",
            "own = (a * rows + s) * batch + sample",
            f"later = tl.load(held_at + own + batch, live & (i > 0), 0.0).to({real})",
            *(["later = tl.where(renewed, 0.0, later)"] if resets else []),
            "total = keep * later",
            "arrives = live & (i % ticks == 0)  # outputs are what the last firing left",
            f"total += tl.load(above_at + (a * time + s // ticks) * batch + sample, arrives, 0.0).to({real})",
        ),
        fire=_write_lines(
            f"state0 = tl.load(before_at + own, live, 0.0).to({real})",
            "cotangent0 = total",
            f"{write_tuple(['n'])} = {write_call('function', [*list_placeholders(graph), 'BLOCK'])}",
            "tl.store(held_at + own, n, live)",
        ),
    )


def _write_renewal(firing: str, condition: str) -> str:
    """Write which samples are reset before the first firing of a time step."""
    first = f"(sample < batch) & ({firing} % ticks == 0) & {condition}"
    return f"renewed = tl.load(reset_at + ({firing} // ticks) * batch + sample, {first}, 0.0) != 0"


def _write_lines(*lines: str) -> str:
    return "\n".join(lines)
