"""How fast are memories with a matrix for each head? In chunks or as a scan, beside the plain loops and fast weights.

Bounds, for heads of d = 64, batch 8, 1,024 steps, 4 heads: 32,768 steps of a head, forwards and backwards.

- The delta rule in chunks of C = 64 steps: forwards 4 C d + 3 d² multiplications and additions a step (keys with keys,
  queries with keys, the solve, the scores with what was written; S with keys, queries and what was written), backwards
  twice as many: 2.8 G, or 60 ms of a core with 16 a cycle at 3 GHz. The 9 MB of q, of k, and so on are passed over some
  hundred times, which takes about as long.
- The loop needs fewer, 9 d² a step (1.2 G), but reads or writes all S, 0.5 MB, some thirty times a step, 15 GB.
- M²RNN multiplies H by W in each step: 3 d³, 26 G, 540 ms. Nothing can be saved there, and the loop does it in
  products of 64 x 64 matrices too, so that a kernel can only save the rest.

Writes results/delta.md.
"""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

os.environ["OMP_WAIT_POLICY"] = "passive"  # threads that wait leave the cores to others

import torch
from _interleaved import collect_samples, print_rows
from torch import Tensor
from torch.nn import functional as F

import remanence
from remanence import nn
from remanence.nn.matrix_memory import m2rnn
from remanence.ops.delta_rule import chunked, reference

Backend: TypeAlias = Literal["cpu", "reference"]
OUTPUT = Path(__file__).parent / "results" / "delta.md"
BATCH, TIME, HEADS, SIZE = 8, 1024, 4, 64
INPUTS = 64
REPEATS = 2  # the loops take a minute


def draw_arguments(*, decays: bool) -> list[Tensor]:
    """Arguments of the delta rule, with keys of length 1."""
    q, k, v = (torch.randn(BATCH, TIME, HEADS, SIZE) for _ in range(3))
    beta, S = torch.rand(BATCH, TIME, 1, HEADS), torch.zeros(BATCH, HEADS, SIZE, SIZE)
    decay = [-torch.rand(BATCH, TIME, HEADS)] if decays else []
    return [x.requires_grad_() for x in (q, F.normalize(k, dim=-1)[:, :, None], v[:, :, None], beta, S, *decay)]


def prepare_both_ways(function: Callable[..., tuple[Tensor, Tensor]], arguments: list[Tensor]) -> Callable[[], None]:
    """Forward and backward."""

    def call() -> None:
        y, last = function(*arguments)
        torch.autograd.grad(y.sum() + last.sum(), arguments)

    return call


def draw_m2rnn_arguments(value_size: int) -> list[Tensor]:
    """q, k, v, f, H and W of M²RNN."""
    q, k = (torch.randn(BATCH, TIME, HEADS, SIZE) for _ in range(2))
    v, f = torch.randn(BATCH, TIME, HEADS, value_size), torch.rand(BATCH, TIME, HEADS)
    H, weight = torch.zeros(BATCH, HEADS, SIZE, value_size), torch.eye(value_size).repeat(HEADS, 1, 1)
    return [x.requires_grad_() for x in (q, k, v, f, H, weight)]


def scan_m2rnn(backend: Backend) -> Callable[..., tuple[Tensor, Tensor]]:
    def run(q: Tensor, k: Tensor, v: Tensor, f: Tensor, H: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        (_, y), (last, _) = remanence.scan(m2rnn.step, [q, k, v, f], [H, H[:, :, 0]], [weight], backend=backend)
        return y, last

    return run


def compare_recurrences() -> list[str]:
    """Each recurrence beside its plain loop."""
    lines = []
    for decays, name in ((False, "The delta rule"), (True, "The delta rule with decay")):
        arguments = draw_arguments(decays=decays)
        forms = {"in chunks": chunked.run, "the plain loop": reference.run}
        ways = {form: prepare_both_ways(function, arguments) for form, function in forms.items()}
        lines += ["", f"## {name}", "", *print_rows(collect_samples(ways, repeats=REPEATS), "in chunks")]
    for size in (SIZE, SIZE // 4):
        backends: dict[str, Backend] = {"the scan, compiled": "cpu", "the plain loop": "reference"}
        arguments = draw_m2rnn_arguments(size)
        ways = {name: prepare_both_ways(scan_m2rnn(backend), arguments) for name, backend in backends.items()}
        table = print_rows(collect_samples(ways, repeats=REPEATS), "the scan, compiled")
        lines += ["", f"## M²RNN, keys of {SIZE}, values of {size}", "", *table]
    return lines


def compare_layers() -> list[str]:
    """The layers, with projection, convolution and gate, beside fast weights whose matrix is as large as all heads."""
    x, units = torch.randn(BATCH, TIME, INPUTS), HEADS * SIZE
    layers: dict[str, torch.nn.Module] = {
        name: nn.create(name, input_size=INPUTS, hidden_size=units, num_heads=HEADS, key_size=SIZE)
        for name in ("delta_net", "gated_delta_net", "delta_product", "mesa_net", "m2rnn")
    }
    alike = round((HEADS * SIZE * SIZE) ** 0.5)
    layers |= {f"fast_weights, {alike} units": nn.FastWeights(INPUTS, alike)}
    layers |= {f"torch.nn.LSTM, {units} units": torch.nn.LSTM(INPUTS, units, batch_first=True)}

    def make_call(layer: torch.nn.Module) -> Callable[[], None]:
        def call() -> None:
            layer.zero_grad()
            layer(x)[0].sum().backward()

        return call

    ways = {name: make_call(layer) for name, layer in layers.items()}
    return ["", "## Layers", "", *print_rows(collect_samples(ways, repeats=REPEATS), "delta_net")]


def main() -> None:
    torch.set_num_threads(1)
    lines = [
        "# Memories with a matrix for each head: speed",
        "",
        f"Forward and backward, batch {BATCH}, {TIME} steps, {HEADS} heads of {SIZE} x {SIZE}, float32, one thread; "
        f"torch {torch.__version__}, {os.cpu_count()} cores ({platform.machine()}).",
        f"Load of the machine when it began: {os.getloadavg()[0]:.1f}. Interleaved repeats: compare within a table.",
        "Written by `python benchmarks/delta.py`, which says what the bounds are.",
        *compare_recurrences(),
        *compare_layers(),
    ]
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
