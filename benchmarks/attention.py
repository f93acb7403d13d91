"""How time and memory of each attention method grow from 1,024 to 16,384 positions, forward and backward.

Every figure is taken in a process of its own, after a small warm-up: the median processor time of a few runs (the sum
over threads, which other programs on the machine do not stretch as they stretch the clock's), and how far the memory
of the process rose above what it held before. The slope is that of a straight line through the logarithms: 1 for
a cost proportional to the length, 2 for one proportional to its square. Writes results/attention.md.

Bounds: projections aside, scores and their use cost 4 · keys · channels operations a query forward, twice that
backward, so 12 · keys · width · length in all; keys: the length for full attention, 3 · 64 for a window of 64.
"""

import math
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from _process import REPEATS, THREADS, Work, in_a_process

from remanence.nn import attention

LENGTHS = (1024, 2048, 4096, 8192, 16384)
WIDTH, HEADS = 64, 2
MEMORY_LIMIT = 2e9  # bytes; a length at which the last growth would pass it is left out
CLAIMS = {
    "full": "T², memory T",
    "strided": "T√T",
    "synthesizer": "T²",
    "sinkhorn": "T·(b + T/b), b = 64",
    "reformer": "T log T",
}
OUTPUT = Path(__file__).parent / "results" / "attention.md"


def prepare_block(name: str, length: int) -> Work:
    layer = attention.create(name, width=WIDTH, heads=HEADS, max_length=length)
    x = torch.randn(1, length, WIDTH)
    return lambda: run_both_ways(layer, x[:, :256]), lambda: run_both_ways(layer, x)


def run_both_ways(layer: torch.nn.Module, x: torch.Tensor) -> None:
    layer(x).square().sum().backward()


def slope(lengths: Sequence[int], values: Sequence[float]) -> float:
    least = 1e-3  # a rise of the memory may be none at all
    logarithms = [math.log(max(value, least)) for value in values]
    return statistics.linear_regression([math.log(n) for n in lengths], logarithms).slope


def measure(name: str) -> tuple[list[float], list[float]]:
    """Milliseconds and megabytes at each length, as far as the memory allows."""
    times: list[float] = []
    peaks: list[float] = []
    for length in LENGTHS:
        if len(peaks) > 1 and peaks[-1] * peaks[-1] / peaks[-2] * 1e6 > MEMORY_LIMIT:
            break
        milliseconds, peak = in_a_process(prepare_block, name, length)
        times.append(milliseconds)
        peaks.append(peak)
    print(f"{name:12} ms {[round(value) for value in times]}, MB {[round(value) for value in peaks]}", flush=True)
    return times, peaks


def make_table(unit: str, figures: dict[str, list[float]]) -> list[str]:
    columns = [unit, *(f"{length:,}" for length in LENGTHS), "slope", "claimed"]
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for name, values in figures.items():
        cells = [f"{value:.0f}" for value in values] + ["–"] * (len(LENGTHS) - len(values))
        growth = slope(LENGTHS[: len(values)], values)
        lines.append(f"| `{name}` | {' | '.join(cells)} | {growth:.2f} | {CLAIMS.get(name, 'T')} |")
    return lines


def main() -> None:
    figures = {name: measure(name) for name in attention.methods}
    lines = [
        "# Attention: time and memory by length",
        "",
        f"Forward and backward, batch 1, width {WIDTH}, {HEADS} heads, float32, {THREADS} threads, "
        "the methods' defaults,",
        f"torch {torch.__version__}, {os.cpu_count()} cores ({platform.machine()}). "
        "Time is processor time of all threads,",
        f"the median of {REPEATS} runs; memory is the rise of the process above what it held before. "
        "The slope is that of",
        "a line through the logarithms: 1 is linear in the length T, 2 quadratic. –: too much memory.",
        "Written by `python benchmarks/attention.py`.",
        "",
        *make_table("ms", {name: times for name, (times, _) in figures.items()}),
        "",
        *make_table("MB", {name: peaks for name, (_, peaks) in figures.items()}),
    ]
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"Written to {OUTPUT}")


if __name__ == "__main__":
    main()
