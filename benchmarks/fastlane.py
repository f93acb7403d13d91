"""How much faster than the plain PyTorch loop does nn.Fastlane fire, and how near does it come to torch.nn.RNN?

Bounds: a dense network of N neurons needs N² multiply-adds a sample and step forwards and twice that backwards, as an
RNN does: 256 neurons, batch 32, 128 time steps: 0.8 G, 50 million registers of 16; two a cycle at 3 GHz: 8 ms of one
core. But these are N sums one after the other where the RNN has one product of matrices.

Writes results/fastlane.md.
"""

import os
import platform
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # threads that wait leave the cores to others

import torch
from _interleaved import collect_samples, print_rows

from remanence import nn
from remanence.ops.firing import reference

OUTPUT = Path(__file__).parent / "results" / "fastlane.md"
BATCH, TIME, INPUTS, NEURONS = 32, 128, 16, 256
DENSITIES = (0.01, 0.1, 0.3, 0.5, 1.0)


def prepare_both_ways(layer: torch.nn.Module, x: torch.Tensor):
    def call():
        layer.zero_grad()
        layer(x)[0].sum().backward()

    return call


def prepare_loop(layer: nn.Fastlane, x: torch.Tensor, *, by_level: bool):
    """Forward and backward of the plain loop: neuron by neuron, or a level at a time."""
    schedule = layer.schedule
    groups = schedule.levels if by_level else [[neuron] for neuron in layer.order.tolist()]

    def call():
        layer.zero_grad()
        drive = torch.nn.functional.linear(x, layer.weight_ih, layer.bias).permute(2, 1, 0)
        state = torch.zeros(layer.hidden_size, len(x))
        reference.fire(schedule, groups, drive, state, layer.weights()).sum().backward()

    return call


def by_density(x: torch.Tensor) -> list[str]:
    ways = {"torch.nn.RNN": prepare_both_ways(torch.nn.RNN(INPUTS, NEURONS, nonlinearity="relu", batch_first=True), x)}
    for density in DENSITIES:
        name = f"nn.Fastlane, {density:.0%} of the edges"
        ways[name] = prepare_both_ways(nn.Fastlane(INPUTS, NEURONS, density=density, leak=0.1), x)
    return print_rows(collect_samples(ways), "torch.nn.RNN")


def against_the_loop(x: torch.Tensor) -> list[str]:
    layer = nn.Fastlane(INPUTS, NEURONS, density=0.1, leak=0.1)
    ways = {"nn.Fastlane": prepare_both_ways(layer, x)}
    ways["plain loop, neuron by neuron"] = prepare_loop(layer, x, by_level=False)
    ways[f"plain loop, {len(layer.schedule.levels)} levels"] = prepare_loop(layer, x, by_level=True)
    return print_rows(collect_samples(ways, repeats=3), "nn.Fastlane")


def main() -> None:
    lines = [
        "# Fastlane: speed",
        "",
        f"Forward and backward, {NEURONS} neurons, {INPUTS} inputs, batch {BATCH}, time {TIME}, float32; torch "
        f"{torch.__version__}, {os.cpu_count()} cores ({platform.machine()}).",
        f"Load of the machine when it began: {os.getloadavg()[0]:.1f}. Interleaved repeats.",
        "Written by `python benchmarks/fastlane.py`.",
    ]
    x = torch.randn(BATCH, TIME, INPUTS)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        title = "1 thread" if threads == 1 else f"{threads} threads"
        lines += ["", f"## Against torch.nn.RNN, {title}", "", *by_density(x)]
    lines += ["", "## 10% of the edges against the plain loop, 2 threads", "", *against_the_loop(x)]
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
