"""How much faster than a plain PyTorch loop of complex numbers is nn.EUNN, and what does a step of each network cost?

Bounds: a rotation takes 12 multiplications and additions of a sample and step forwards and 30 backwards. 128 units in
FFT style, batch 32, 128 time steps, 448 rotations: 77 M of them, 4.8 M registers of 16; two a cycle at 3 GHz: 0.8 ms of
one core. What they read and write is as much again: each rotation needs 8 loads and 8 stores or more.

Writes results/unitary.md.
"""

import os
import platform
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # threads that wait leave the cores to others

import torch
from _interleaved import collect_samples, print_rows

from remanence import nn
from remanence.nn.unitary.base import UnitaryMemory

OUTPUT = Path(__file__).parent / "results" / "unitary.md"
BATCH, TIME, INPUTS, UNITS = 32, 128, 10, 128
STYLES = {
    "capacity 2": {"capacity": 2},
    "FFT": {"style": "fft"},
    f"capacity {UNITS}": {"capacity": UNITS},
}


def prepare_both_ways(layer: torch.nn.Module, x: torch.Tensor, *, looped: bool = False):
    """Forward and backward; of an EUNN by its kernel, or by the plain loop."""

    def call():
        layer.zero_grad()
        if looped:
            y, _ = UnitaryMemory._run(layer, x, layer.initial_state(len(x)))
        else:
            y, _ = layer(x)
        y.sum().backward()

    return call


def main() -> None:
    lines = [
        "# Unitary networks: speed",
        "",
        f"Forward and backward, {UNITS} complex units, {INPUTS} inputs, batch {BATCH}, time {TIME}, float32; torch "
        f"{torch.__version__}, {os.cpu_count()} cores ({platform.machine()}).",
        f"Load of the machine when it began: {os.getloadavg()[0]:.1f}. Interleaved repeats.",
        "Written by `python benchmarks/unitary.py`.",
    ]
    x = torch.randn(BATCH, TIME, INPUTS)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        lines += ["", f"## Threads: {threads}"]
        for style, options in STYLES.items():
            layer = nn.EUNN(INPUTS, UNITS, **options)
            ways = {
                "nn.EUNN": prepare_both_ways(layer, x),
                "plain complex loop": prepare_both_ways(layer, x, looped=True),
            }
            lines += [
                "",
                f"EUNN, {style}",
                "",
                *print_rows(collect_samples(ways, repeats=5 if style != "FFT" else 9), "nn.EUNN"),
            ]
        others = {"torch.nn.RNN, as many real numbers": torch.nn.RNN(INPUTS, 2 * UNITS, batch_first=True)}
        others |= {f"nn.EUNN, {style}": nn.EUNN(INPUTS, UNITS, **options) for style, options in STYLES.items()}
        others |= {"nn.UnitaryRNN": nn.UnitaryRNN(INPUTS, UNITS), "nn.OrthogonalRNN": nn.OrthogonalRNN(INPUTS, UNITS)}
        others["nn.OrthogonalRNN, tanh"] = nn.OrthogonalRNN(INPUTS, UNITS, nonlinearity="tanh")
        ways = {name: prepare_both_ways(layer, x) for name, layer in others.items()}
        lines += ["", "All", "", *print_rows(collect_samples(ways, repeats=9), next(iter(ways)))]
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
