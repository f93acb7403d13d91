"""How fast are cells with matrices, written as a step, beside PyTorch's own layers and beside their plain loop?

Bound: forward and backward are three matrix products of batch x units by units x gates each, 2 x 3 operations for each
element of the matrix, sample and time step: a GRU of 64 units, batch 32, 128 steps needs 0.30 G of them, one of 256
units 4.8 G. What the processor can do is printed beside it, as measured by a large matrix product.
"""

import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from _interleaved import measure_medians, show
from torch import Tensor

import remanence
from remanence.nn.gated import gru_step, lstm_step

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import layer_norm_lstm
import nbrc
import slstm

torch.set_num_threads(2)
BATCH, TIME = 32, 128
UNITS = (64, 256)
REPEATS = 7


def as_a_step(step, layer: torch.nn.RNNBase, x: Tensor):
    """A layer of PyTorch's by the scan, with its weights."""
    weight_ih, weight_hh, bias_ih, bias_hh = layer.all_weights[0]
    start = x.new_zeros(len(x), layer.hidden_size)
    if step is gru_step:
        drive = F.linear(x, weight_ih, bias_ih)
        return remanence.scan(gru_step, [drive], [start], [weight_hh, bias_hh], backend="cpu")[0][0]
    drive = F.linear(x, weight_ih, bias_ih + bias_hh)
    return remanence.scan(lstm_step, [drive], [start, start], [weight_hh], backend="cpu")[0][0]


def prepare_both_ways(module: torch.nn.Module, run):
    def call():
        module.zero_grad()
        run().sum().backward()

    return call


def beside_pytorch(units: int) -> None:
    x = torch.randn(BATCH, TIME, units)
    for step, kind in ((gru_step, torch.nn.GRU), (lstm_step, torch.nn.LSTM)):
        layer = kind(units, units, batch_first=True)
        torch.testing.assert_close(as_a_step(step, layer, x), layer(x)[0], rtol=1e-4, atol=1e-4)
        ways = {
            f"torch.nn.{kind.__name__}": prepare_both_ways(layer, lambda layer=layer: layer(x)[0]),
            "the same as a step": prepare_both_ways(layer, lambda layer=layer, step=step: as_a_step(step, layer, x)),
        }
        title = f"{kind.__name__}: batch {BATCH}, time {TIME}, {units} units, forward + backward"
        show(title, measure_medians(ways, REPEATS), "the same as a step")


def beside_the_loop(units: int) -> None:
    x = torch.randn(BATCH, TIME, units)
    cells = {
        "layer-normalised LSTM": (layer_norm_lstm, layer_norm_lstm.LayerNormLSTM),
        "sLSTM": (slstm, slstm.SLSTM),
        "nBRC": (nbrc, nbrc.NBRC),
    }
    for name, (module, kind) in cells.items():
        layer = kind(units, units)

        def run_loop(layer=layer, module=module) -> Tensor:
            scan = remanence.scan
            module.remanence.scan = lambda *given: scan(*given, backend="reference")
            try:
                return layer(x)[0]
            finally:
                module.remanence.scan = scan

        ways = {
            "its plain loop": prepare_both_ways(layer, run_loop),
            "fused": prepare_both_ways(layer, lambda layer=layer: layer(x)[0]),
        }
        show(f"{name}: batch {BATCH}, time {TIME}, {units} units", measure_medians(ways, REPEATS), "fused")


def operations_per_second(size: int = 1024) -> float:
    """Of a matrix product that keeps both cores busy."""
    a, seconds = torch.randn(size, size), []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def main() -> None:
    print(f"a large matrix product: {operations_per_second() / 1e9:.0f} G operations per second")
    for units in UNITS:
        beside_pytorch(units)
        beside_the_loop(units)


if __name__ == "__main__":
    main()
