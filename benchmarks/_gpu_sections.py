"""What `gpu.py` measures: for each section its figures, with the bound that each should reach.

Sections are made in a process of their own. A figure does nothing before it is measured, so that all are known by name
when one of them fails.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from _interleaved import measure_medians
from layers import prepare_both_ways
from scan_gpu import Problem

from remanence import nn
from remanence.nn.gated import gru_step, lstm_step
from remanence.ops.scan import scan

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import layer_norm_lstm
import nbrc
import slstm

Call = Callable[[], object]
INPUTS = 16
PATIENCE = 0.6
"""Seconds for the repeats of a figure."""
LAYER_TARGETS = {"cfc": 3, "fast_weights": 4, "orthogonal": 2, "urnn": 5, "eunn": 5, "alstm": 6, "fastlane": 6}
"""Milliseconds at batch 32, time 128, 64 units."""


@dataclass(frozen=True)
class Sizes:
    """Batch, time and units of each section, and where it runs."""

    device: str = "cuda"
    layers: tuple[int, int, int] = (32, 128, 64)
    pairs: tuple[int, int, int] = (128, 11, 50)
    pixels: tuple[int, int, int] = (128, 784, 128)
    gated: tuple[int, int, int] = (256, 1024, 128)
    lanes: tuple[int, int, int] = (1024, 512, 64)
    newton: tuple[tuple[int, int, int], ...] = ((1, 16_384, 64), (64, 16_384, 64))
    sub_steps: tuple[int, ...] = (0, 1, 6)
    repeats: int = 15

    @property
    def backend(self) -> str:
        return "gpu" if self.device == "cuda" else "cpu"


TINY = Sizes("cpu", (2, 6, 64), (2, 3, 12), (2, 4, 12), (2, 6, 8), (2, 6, 8), ((1, 8, 4),), (1,), 1)
"""For a look at all of it without a GPU; units as other benchmarks have them in the suite, which compiles them once."""


@dataclass(frozen=True)
class Figure:
    """Milliseconds of something, and of what stands beside it.

    Attributes:
        name: what is measured.
        measure: returns milliseconds, and those of ``beside`` if there is something.
        beside: what it is compared with.
        target: what it should not exceed.
        target_of: milliseconds, or their ratio to those of ``beside``.
    """

    name: str
    measure: Callable[[], list[float]]
    beside: str | None = None
    target: float | None = None
    target_of: Literal["ms", "ratio"] = "ms"


def time_calls(sizes: Sizes, make: Callable[[], list[Call]]) -> list[float]:
    """Return median milliseconds of calls in turn, after one of each that compiles; slow ones are repeated less."""
    ways = {str(index): wait_after(call, sizes.device) for index, call in enumerate(make())}
    for _ in range(2):
        start = time.perf_counter()
        for call in ways.values():
            call()
    repeats = int(PATIENCE / (2 * (time.perf_counter() - start)))
    return [1000 * seconds for seconds in measure_medians(ways, max(1, min(sizes.repeats, repeats))).values()]


def wait_after(call: Call, device: str) -> Call:
    def run() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def random_input(sizes: Sizes, batch: int, time: int, channels: int) -> torch.Tensor:
    return torch.randn(batch, time, channels, device=sizes.device)


def name_step(sub_steps: int) -> str:
    return ("leaky sum", "flip-flop")[min(sub_steps, 1)] + (f", {sub_steps} sub-steps" if sub_steps > 1 else "")


def list_pointwise(sizes: Sizes) -> list[Figure]:
    """Lanes in registers beside a copy of as many bytes."""
    targets = {0: 1.5, 1: 2.5}
    batch, length, channels = sizes.lanes
    title = f"{batch * channels:,} lanes, {length} steps"

    def make(sub_steps: int, backward: bool) -> list[Call]:
        problem = Problem(sub_steps, batch, length, channels, sizes.device)
        copied = torch.empty(problem.numbers(backward=backward) // 2, device=sizes.device)
        return [partial(problem.run_both_ways if backward else problem.forward, sizes.backend), copied.clone]

    return [
        Figure(
            f"{name_step(count)}, {what}: {title}",
            partial(time_calls, sizes, partial(make, count, backward)),
            "a copy",
            targets.get(count),
            "ratio",
        )
        for count in sizes.sub_steps
        for backward, what in ((False, "forward"), (True, "both ways"))
    ]


def beside_lstm(sizes: Sizes, make: Callable[[], torch.nn.Module], shape: tuple[int, int, int], **given) -> list[Call]:
    """Return both directions of a layer of ``INPUTS`` inputs, and of PyTorch's LSTM of the same size."""
    batch, length, units = shape
    x = random_input(sizes, batch, length, INPUTS)
    layer, lstm = (module.to(sizes.device) for module in (make(), torch.nn.LSTM(INPUTS, units, batch_first=True)))
    return [prepare_both_ways(layer, x, **given), prepare_both_ways(lstm, x)]


def list_layers(sizes: Sizes) -> list[Figure]:
    """Every registered layer, those with a target first."""
    batch, length, units = sizes.layers
    names = sorted(nn.layers, key=lambda name: name not in LAYER_TARGETS)

    def make(name: str) -> list[Call]:
        return beside_lstm(sizes, partial(nn.create, name, input_size=INPUTS, hidden_size=units), sizes.layers)

    return [
        Figure(
            f"{name}: batch {batch}, time {length}, {units} units",
            partial(time_calls, sizes, partial(make, name)),
            "torch.nn.LSTM",
            LAYER_TARGETS.get(name),
        )
        for name in names
    ]


def list_fast_weights(sizes: Sizes) -> list[Figure]:
    """Sequences of pixels, and those of the retrieval task."""

    def make(shape: tuple[int, int, int]) -> list[Call]:
        return beside_lstm(sizes, partial(nn.FastWeights, INPUTS, shape[2]), shape)

    return [
        Figure(
            "fast weights: batch {}, time {}, {} units".format(*shape),
            partial(time_calls, sizes, partial(make, shape)),
            "torch.nn.LSTM",
            most,
        )
        for shape, most in ((sizes.pairs, 1.5), (sizes.pixels, 15))
    ]


class AsAStep(torch.nn.Module):
    """A layer of PyTorch's by the scan, with weights of its size."""

    def __init__(self, step, units: int):
        super().__init__()
        gates = 3 if step is gru_step else 4
        self.step, self.drive = step, torch.nn.Linear(INPUTS, gates * units)
        self.weight = torch.nn.Parameter(torch.randn(gates * units, units) * units**-0.5)
        self.bias = torch.nn.Parameter(torch.zeros(gates * units))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        start = x.new_zeros(len(x), self.weight.shape[1])
        state, params = ([start], [self.weight, self.bias]) if self.step is gru_step else ([start] * 2, [self.weight])
        states, final = scan(self.step, [self.drive(x)], state, params)
        return states[0], final


def list_gated(sizes: Sizes) -> list[Figure]:
    """Relatives of the LSTM, and padded batches of its own, beside cuDNN's."""
    batch, length, units = sizes.gated
    kinds = {
        "GRU as a step": partial(AsAStep, gru_step, units),
        "LSTM as a step": partial(AsAStep, lstm_step, units),
        "layer-normalised LSTM": partial(layer_norm_lstm.LayerNormLSTM, INPUTS, units),
        "sLSTM": partial(slstm.SLSTM, INPUTS, units),
        "nBRC": partial(nbrc.NBRC, INPUTS, units),
    }
    padded = {f"nn.{kind.__name__}, padded": partial(kind, INPUTS, units) for kind in (nn.LSTM, nn.GRU)}

    def make(kind: Callable[[], torch.nn.Module], is_padded: bool) -> list[Call]:
        lengths = torch.randint(length // 2, length + 1, (batch,), device=sizes.device)
        return beside_lstm(sizes, kind, sizes.gated, **({"lengths": lengths} if is_padded else {}))

    return [
        Figure(
            f"{name}: batch {batch}, time {length}, {units} units",
            partial(time_calls, sizes, partial(make, kind, name in padded)),
            "torch.nn.LSTM",
            1.5,
            "ratio",
        )
        for name, kind in (kinds | padded).items()
    ]


def list_fixed_cost(sizes: Sizes) -> list[Figure]:
    """What a call costs before anything is computed."""

    def prepare_scan(problem: Problem, backward: bool) -> list[Call]:
        return [partial(problem.run_both_ways if backward else problem.forward, sizes.backend)]

    def prepare_layer(layer: torch.nn.Module, backward: bool) -> list[Call]:
        x = random_input(sizes, 1, 2, INPUTS)
        layer = layer.to(sizes.device)
        return [prepare_both_ways(layer, x) if backward else torch.no_grad()(lambda: layer(x))]

    many = {"scan, leaky sum": lambda back: prepare_scan(Problem(0, 1, 2, 64, sizes.device), back)}
    many |= {
        f"nn.{kind.__name__}": lambda back, kind=kind: prepare_layer(kind(INPUTS, 64), back)
        for kind in (nn.CFF, nn.LTC)
    }
    return [
        Figure(
            f"{name}, {what}: batch 1, time 2, 64 units", partial(time_calls, sizes, partial(make, back)), target=0.4
        )
        for name, make in many.items()
        for back, what in ((False, "forward"), (True, "both ways"))
    ]


def list_newton(sizes: Sizes) -> list[Figure]:
    """All steps at once beside one after the other, on flip-flops."""

    def make(shape: tuple[int, int, int]) -> list[Call]:
        problem = Problem(1, *shape, sizes.device)
        return [partial(problem.run_both_ways, name) for name in ("newton", sizes.backend)]

    return [
        Figure(
            f"Newton, both ways: {shape[0] * shape[2]:,} lanes, {shape[1]:,} steps",
            partial(time_calls, sizes, partial(make, shape)),
            "the fused loop",
        )
        for shape in sizes.newton
    ]


def list_first_call(sizes: Sizes) -> list[Figure]:
    """Of a process that has loaded PyTorch and Triton: with nothing compiled, and with all of it on the disk."""
    steps = {name_step(count): count for count in sizes.sub_steps} | {"GRU as a step": None}
    figures = []
    for name, sub_steps in steps.items():
        folder = tempfile.TemporaryDirectory(prefix="remanence-first-call-")
        for caches, most in (("cold", 5000), ("warm", 300)):
            measure = partial(time_first_call, sizes, sub_steps, folder)
            figures.append(Figure(f"{name}, first call, caches {caches}", measure, target=most))
    return figures


def time_first_call(sizes: Sizes, sub_steps: int | None, folder: tempfile.TemporaryDirectory) -> list[float]:
    context = multiprocessing.get_context("fork")  # this process has not used the GPU
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_first_call, args=(sizes, sub_steps, folder.name, sender))
    process.start()
    sender.close()
    try:
        return [receiver.recv()]
    except EOFError:
        process.join()
        raise RuntimeError(f"the process ended with {process.exitcode}") from None


def _send_first_call(sizes: Sizes, sub_steps: int | None, folder: str, sender) -> None:
    os.environ |= {"TRITON_CACHE_DIR": f"{folder}/triton", "REMANENCE_CACHE_DIR": f"{folder}/remanence"}
    if sizes.device == "cuda":
        import triton  # noqa: F401
    if sub_steps is None:
        call = beside_lstm(sizes, partial(AsAStep, gru_step, sizes.layers[2]), sizes.layers)[0]
    else:
        call = partial(Problem(sub_steps, *sizes.layers, sizes.device).run_both_ways, sizes.backend)
    start = time.perf_counter()
    wait_after(call, sizes.device)()
    sender.send(1000 * (time.perf_counter() - start))


SECTIONS: dict[str, Callable[[Sizes], list[Figure]]] = {
    "pointwise": list_pointwise,
    "fixed cost": list_fixed_cost,
    "first call": list_first_call,
    "fast weights": list_fast_weights,
    "layers": list_layers,
    "gated": list_gated,
    "newton": list_newton,
}
