"""How fast are fast weights, and how much do they keep for the way back? The kernel beside both plain loops.

Bounds: with H units and one inner step, a sample's step forwards is 3 H² multiplications and additions (W h, A v and
the write), backwards 7 H² (A again; G h, A gz and Wᵀ gz; and G, twice). H = 64, batch 32, 512 steps: 0.67 G of them,
42 M registers of 16. Each needs a load of the matrix and one of the vector, two of which a cycle can do: 42 M cycles,
14 ms of one core at 3 GHz. The attention form reads 2 τ H numbers at step τ instead, so that it should win below
time = H or so, had it no more calls to make.

Writes results/fast_weights.md.
"""

import os
import platform
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # threads that wait leave the cores to others

import torch
from _interleaved import collect_samples, print_rows

from remanence import nn

OUTPUT = Path(__file__).parent / "results" / "fast_weights.md"
BATCH, INPUTS, UNITS = 32, 16, 64
LENGTHS = (8, 16, 32, 64, 128, 512)
FORMS = {"auto": "nn.FastWeights", "matrix": "the loop that carries A", "attention": "the loop that attends"}


def prepare_both_ways(layer: torch.nn.Module, x: torch.Tensor):
    """Forward and backward."""

    def call():
        layer.zero_grad()
        layer(x)[0].sum().backward()

    return call


def measure_kept_memory(layer: torch.nn.Module, x: torch.Tensor) -> float:
    """MiB that the way back needs."""
    storages = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = layer(x)  # held until it is counted: what is freed could be counted twice
    del result
    return sum(storages.values()) / 2**20


def main() -> None:
    lines = [
        "# Fast weights: speed",
        "",
        f"Forward and backward, {UNITS} units, {INPUTS} inputs, batch {BATCH}, float32; torch {torch.__version__}, "
        f"{os.cpu_count()} cores ({platform.machine()}).",
        f"Load of the machine when it began: {os.getloadavg()[0]:.1f}. Interleaved repeats.",
        "Written by `python benchmarks/fast_weights.py`.",
    ]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for time in LENGTHS if threads == 1 else LENGTHS[-1:]:
            x = torch.randn(BATCH, time, INPUTS)
            layers = {name: nn.FastWeights(INPUTS, UNITS, form=form) for form, name in FORMS.items()}
            layers["torch.nn.LSTM"] = torch.nn.LSTM(INPUTS, UNITS, batch_first=True)
            ways = {name: prepare_both_ways(layer, x) for name, layer in layers.items()}
            table = print_rows(collect_samples(ways, repeats=5 if time > 100 else 15), FORMS["auto"])
            memory = ", ".join(f"{name} {measure_kept_memory(layer, x):.1f} MiB" for name, layer in layers.items())
            title = f"## {time} steps, {threads} thread{'s' if threads > 1 else ''}"
            lines += ["", title, "", *table, "", f"Kept: {memory}."]
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
