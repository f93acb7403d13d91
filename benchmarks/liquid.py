"""Liquid memory: nn.LTC against the ncps package, and a transformer's block with flip-flops against one with attention.

Bound of the LTC: a synapse costs one σ a sub-step, some 20 vector instructions forwards and 28 backwards (where σ is
computed anew instead of stored). 64 neurons, all connected, 6 sub-steps, batch 32, 128 time steps: 101 million synapses
or 6.3 million registers of 16, so 0.3 G instructions; two a cycle at 3 GHz: 50 ms of one core, 25 ms of two.

Bound of the block: attention costs 12 · T² · width operations both ways, where flip-flops cost some 150 · T · width and
the projections 36 · T · width². By operations the two meet at T = 400 for a width of 128; but those of attention run
in matrix products, several times faster each.

Writes results/liquid.md.
"""

import os
import platform
from pathlib import Path

import ncps.torch
import ncps.wirings
import torch
from _interleaved import collect_samples
from _process import THREADS, Work, in_a_process

from remanence import nn
from remanence.models.block import Block
from remanence.models.mixer import build_mixer

OUTPUT = Path(__file__).parent / "results" / "liquid.md"
BATCH, TIME, INPUTS = 32, 128, 16
WIRINGS = {
    "64 units, fully connected": lambda: ncps.wirings.FullyConnected(64),
    "32 units, fully connected": lambda: ncps.wirings.FullyConnected(32),
    "64 units, NCP": lambda: ncps.wirings.AutoNCP(64, 8),
    "64 units, a tenth of the synapses": lambda: ncps.wirings.Random(64, sparsity_level=0.9),
}
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
WIDTH, HEADS = 128, 4
MIXERS = ("full", "cff")


def prepare_both_ways(layer: torch.nn.Module, x: torch.Tensor):
    def call() -> None:
        layer.zero_grad()
        result = layer(x)
        (result[0] if isinstance(result, tuple) else result).square().sum().backward()

    return call


def layers(name: str) -> dict[str, torch.nn.Module]:
    theirs = ncps.torch.LTC(INPUTS, WIRINGS[name](), ode_unfolds=6)
    return {"ncps.torch.LTC": theirs, "nn.LTC": nn.LTC.from_ncps(theirs)}


def prepare_ltc(name: str, which: str) -> Work:
    layer = layers(name)[which]
    x = torch.randn(BATCH, TIME, INPUTS)
    return prepare_both_ways(layer, x[:, :2]), prepare_both_ways(layer, x)


def against_ncps() -> list[str]:
    lines = ["| | synapses | ncps.torch.LTC, median (best) | nn.LTC | ratio (of ncps's best) | memory, MB | ratio |"]
    lines += ["|" + " --- |" * 7]
    # Before anything is computed here: PyTorch's threads do not survive the fork.
    peaks_of = {
        name: [in_a_process(prepare_ltc, name, which)[1] for which in ("ncps.torch.LTC", "nn.LTC")] for name in WIRINGS
    }
    torch.set_num_threads(THREADS)
    for name, peaks in peaks_of.items():
        both = layers(name)
        x = torch.randn(BATCH, TIME, INPUTS)
        seconds = collect_samples({which: prepare_both_ways(layer, x) for which, layer in both.items()}, repeats=5)
        (median, best), (ours, _) = (
            (1000 * sorted(values)[len(values) // 2], 1000 * min(values)) for values in seconds.values()
        )
        count = len(both["nn.LTC"].synapses.receiver)
        lines.append(
            f"| {name} | {count:,} | {median:.0f} ms ({best:.0f}) | {ours:.1f} ms | {median / ours:.1f} "
            f"({best / ours:.1f}) | {peaks[0]:.0f} and {peaks[1]:.1f} | {peaks[0] / peaks[1]:.0f} |"
        )
        print(lines[-1], flush=True)
    return lines


def prepare_block(name: str, length: int) -> Work:
    block = Block(
        build_mixer(name, WIDTH, heads=HEADS, causal=True, max_length=length, options={}), WIDTH, 4 * WIDTH, dropout=0.0
    )
    x = torch.randn(1, length, WIDTH, requires_grad=True)
    return prepare_both_ways(block, x[:, :64]), prepare_both_ways(block, x)


def against_attention() -> list[str]:
    lines = [f"| | {' | '.join(f'{length:,}' for length in LENGTHS)} |", "|" + " --- |" * (1 + len(LENGTHS))]
    figures = {name: [in_a_process(prepare_block, name, length) for length in LENGTHS] for name in MIXERS}
    for column, unit in enumerate(("ms", "MB")):
        for name in MIXERS:
            cells = " | ".join(f"{figure[column]:.0f}" for figure in figures[name])
            lines.append(f"| `{name}`, {unit} | {cells} |")
    print("\n".join(lines), flush=True)
    return lines


def main() -> None:
    of_blocks, of_ltc = against_attention(), against_ncps()
    lines = [
        "# Liquid memory: speed and memory",
        "",
        f"Forward and backward, float32, {THREADS} threads, torch {torch.__version__}, {os.cpu_count()} cores "
        f"({platform.machine()}).",
        "Written by `python benchmarks/liquid.py`.",
        "",
        "## LTC against ncps",
        "",
        f"Batch {BATCH}, time {TIME}, {INPUTS} inputs, 6 sub-steps, the same weights in both, interleaved. Memory is",
        "the rise of a process above what it held before.",
        "",
        *of_ltc,
        "",
        "## A block with flip-flops against one with full attention",
        "",
        f"Batch 1, width {WIDTH}, MLP {4 * WIDTH}, {HEADS} heads, causal. Time is processor time of all threads.",
        "",
        *of_blocks,
    ]
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
