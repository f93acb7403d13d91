"""Forward and backward of each memory beside torch.nn.LSTM.

Bound: a fused LSTM step at hidden size H is 8 H (H + input) multiply-adds a sample.
"""

import torch
from _interleaved import measure_medians, show

from remanence import nn

torch.set_num_threads(2)


BATCH, TIME, UNITS = 32, 128, 64


def prepare_both_ways(layer: torch.nn.Module, x: torch.Tensor, **given: torch.Tensor):
    def call():
        layer.zero_grad()
        layer(x, **given)[0].sum().backward()

    return call


def main() -> None:
    x = torch.randn(BATCH, TIME, 16)
    ways = {"torch.nn.LSTM": prepare_both_ways(torch.nn.LSTM(16, UNITS, batch_first=True), x)}
    ways |= {name: prepare_both_ways(nn.create(name, input_size=16, hidden_size=UNITS), x) for name in nn.layers}
    show(
        f"batch {BATCH}, time {TIME}, {UNITS} units, float32, forward + backward",
        measure_medians(ways),
        "torch.nn.LSTM",
    )


if __name__ == "__main__":
    main()
