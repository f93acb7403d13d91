"""Writes the loops over time around a traced step, forwards and backwards, as Triton source.

An *element* is one channel of one sample. A program runs ``LANES`` of them, one a thread, over all of time with the
states in registers. It takes ``STEPS`` steps at once, and issues the loads of the next ``STEPS`` before it computes
these. Sizes and strides are run-time numbers, so another batch size or length needs no compilation.
"""

import textwrap
from collections.abc import Sequence

import torch

from remanence._kernels.source_text import fill_template
from remanence.ops.scan.pointwise_graph import Graph
from remanence.ops.scan.triton_step import list_placeholders, real_type, write_call, write_step_function, write_tuple

_MODULE = '''\
import triton
import triton.language as tl
from triton.language.extra import libdevice

NUMBERS = """
    {numbers}
""".split()
POINTERS = """
    {pointers}
""".split()


{step}


@triton.jit
{read_head}:
    """What step t reads; zeros where there is no such step."""
    at = tl.cast(t, tl.int64)
    now = live & (t >= 0) & (t < time)
    return {loads}


@triton.jit(do_not_specialize=NUMBERS, do_not_specialize_on_alignment=POINTERS)
{head}:
    element = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    live = element < elements
    row, channel = element // channels, element % channels
    {begin}
    ahead = ()
    for i in tl.static_range(STEPS):
        ahead += (
            {read_first},
        )
    for done in range(0, time, STEPS):
        here = ahead
        ahead = ()
        for i in tl.static_range(STEPS):
            ahead += (
                {read_ahead},
            )
        for i in tl.static_range(STEPS):
            t = {t}
            {values} = here[i]
            {one_step}
            now = live & (t < time)
            at = tl.cast(t, tl.int64) * channels
            {store}
    {end}
'''

_SIZES = ["time", "channels", "elements"]


def forward_source(graph: Graph, dtype: torch.dtype) -> str:
    """Write the kernel ``forward`` of a step: from ``input``, ``initial`` state and ``param`` to ``states``.

    Args:
        graph: :attr:`TracedStep.forward`.
        dtype: dtype of the tensors.
    """
    real = real_type(dtype)
    inputs, before, params = (list_placeholders(graph, kind) for kind in ("input", "state", "param"))
    new = _number_names("state", range(len(graph.outputs)))
    written = _number_names("states", range(len(new)))
    return _write_module(
        kernel="forward",
        step=write_step_function("step", graph, real),
        strided=inputs or ["input0"],
        contiguous=written,
        others=[*_initial_names(before), *params],
        first_step="0",
        onwards="+",
        begin=[
            *_load_params(params, real),
            *(_load_row(s, i, real) for s, i in zip(before, _initial_names(before), strict=True)),
        ],
        one_step=[
            *_convert(inputs, real),
            f"{write_tuple(new)} = {write_call('step', [*list_placeholders(graph), 'LANES'])}",
        ],
        store=[f"tl.store({to}_at + at, {value}, now)" for to, value in zip(written, new, strict=True)],
    )


def backward_source(
    graph: Graph,
    dtype: torch.dtype,
    needs: Sequence[Sequence[bool]],
    above: Sequence[bool],
    final: Sequence[bool],
) -> str:
    """Write the kernel ``backward`` of a step, which goes through time in reverse.

    It reads what ``forward`` read and wrote, the gradients of ``states`` (``above``) and of the last state (``final``),
    and writes those of the initial states, inputs and params (``d_state``, ``d_input``, ``d_param``), the last a value
    for each element.

    Args:
        graph: the graph that :meth:`TracedStep.vjp` returns.
        dtype: dtype of the tensors.
        needs: for each state, for each input and for each param whether its gradient is needed.
        above: for each state whether there is a gradient of its sequence.
        final: for each state whether there is a gradient of it after the last step.
    """
    real = real_type(dtype)
    inputs, before, params = (list_placeholders(graph, kind) for kind in ("input", "state", "param"))
    carried = _number_names("cotangent", range(len(above)))
    given_above, given_final = _number_names("above", _find_true(above)), _number_names("final", _find_true(final))
    d_states, d_inputs, d_params = (
        _number_names(name, _find_true(need))
        for name, need in zip(("d_state", "d_input", "d_param"), needs, strict=True)
    )
    new = [*_number_names("new", range(len(above))), *d_inputs, *d_params]
    totals = [name.replace("d_", "total_") for name in d_params]
    return _write_module(
        kernel="backward",
        step=write_step_function("gradients", graph, real),
        strided=[*inputs, *given_above] or ["input0"],
        contiguous=d_inputs,
        previous=before,
        others=[*_initial_names(before), *params, *given_final, *d_states, *d_params],
        first_step="(time + STEPS - 1) // STEPS * STEPS - 1",
        onwards="-",
        begin=[
            *_load_params(params, real),
            *(_load_row(i, i, real) for i in _initial_names(before)),
            *(_load_row(c, f"final{i}", real) if final[i] else _write_zero(c, real) for i, c in enumerate(carried)),
            *(_write_zero(total, real) for total in totals),
        ],
        one_step=[
            *_convert(inputs, real),
            *(
                f"{s} = tl.where(t > 0, {s}.to({real}), {i})"
                for s, i in zip(before, _initial_names(before), strict=True)
            ),
            *(f"{name.replace('above', 'cotangent')} += {name}.to({real})" for name in given_above),
            f"{write_tuple(new)} = {write_call('gradients', [*list_placeholders(graph), 'LANES'])}",
            *(f"{c} = tl.where(t < time, new{i}, {c})" for i, c in enumerate(carried)),
            *(f"{total} += tl.where(t < time, {d}, 0.0)" for total, d in zip(totals, d_params, strict=True)),
        ],
        store=[f"tl.store({name}_at + at, {name}, now)" for name in d_inputs],
        end=[
            *(f"tl.store({d}_at + element, {d.replace('d_state', 'cotangent')}, live)" for d in d_states),
            *(f"tl.store({d}_at + element, {total}, live)" for d, total in zip(d_params, totals, strict=True)),
        ],
    )


def _write_module(
    *,
    kernel: str,
    step: str,
    strided: list[str],
    contiguous: list[str],
    others: list[str],
    first_step: str,
    onwards: str,
    begin: list[str],
    one_step: list[str],
    store: list[str],
    previous: Sequence[str] = (),
    end: Sequence[str] = (),
) -> str:
    """Write the module with the loop.

    Args:
        kernel: name of the kernel.
        step: text of the function of one step.
        strided: sequences with any strides that a step reads.
        contiguous: contiguous sequences that a step writes.
        others: tensors that the kernel reads before the loop or writes after it.
        first_step: the time of the first step.
        onwards: whether time goes up, ``+``, or down, ``-``.
        begin: lines before the loop.
        one_step: the computation of a step.
        store: the stores of a step.
        previous: states whose previous value a step reads, from contiguous sequences.
        end: lines after the loop.
    """
    histories = [name.replace("state", "states") for name in previous]
    pointers = [f"{name}_at" for name in (*strided, *histories, *contiguous, *others)]
    strides = [f"{name}_{of}" for name in strided for of in ("batch", "time", "channel")]
    read = [
        *("live", "time", "channels"),
        *(f"{name}_{what}" for name in strided for what in ("at", "time")),
        *(f"{name}_at" for name in histories),
    ]
    loads = [
        *(f"tl.load({name}_at + at * {name}_time, now, 0.0)" for name in strided),
        *(f"tl.load({name}_at + (at - 1) * channels, now & (t > 0), 0.0)" for name in histories),
    ]
    moves = [
        *(f"{name}_at += row * {name}_batch + channel * {name}_channel" for name in strided),
        *(f"{name}_at += row * time * channels + channel" for name in (*histories, *contiguous)),
    ]
    return fill_template(
        _MODULE,
        numbers=textwrap.fill(" ".join([*strides, *_SIZES]), 110),
        pointers=textwrap.fill(" ".join(pointers), 110),
        step=step,
        read_head=write_call("def read", ["t", *read]),
        loads="\n".join(["(", *(f"    {load}," for load in loads), ")"]),
        head=write_call(f"def {kernel}", [*pointers, *strides, *_SIZES, "LANES: tl.constexpr", "STEPS: tl.constexpr"]),
        begin="\n".join([*moves, *begin, f"first = {first_step}"]),
        read_first=write_call("read", [f"first {onwards} i", *read]),
        read_ahead=write_call("read", [f"first {onwards} (done + STEPS + i)", *read]),
        t=f"first {onwards} (done + i)",
        values=write_tuple([*strided, *previous]),
        one_step="\n".join(one_step),
        store="\n".join(store),
        end="\n".join(end),
    )


def _number_names(name: str, indices: Sequence[int]) -> list[str]:
    return [f"{name}{index}" for index in indices]


def _find_true(flags: Sequence[bool]) -> list[int]:
    return [index for index, flag in enumerate(flags) if flag]


def _initial_names(states: Sequence[str]) -> list[str]:
    return [name.replace("state", "initial") for name in states]


def _load_params(names: Sequence[str], real: str) -> list[str]:
    return [f"{name} = tl.load({name}_at + channel, live, 0.0).to({real})" for name in names]


def _load_row(name: str, source: str, real: str) -> str:
    return f"{name} = tl.load({source}_at + element, live, 0.0).to({real})"


def _write_zero(name: str, real: str) -> str:
    return f"{name} = tl.full([LANES], 0.0, {real})"


def _convert(names: Sequence[str], real: str) -> list[str]:
    return [f"{name} = {name}.to({real})" for name in names]
