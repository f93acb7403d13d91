"""How fast are the layers that are a scan of a step with matrices, beside what PyTorch has or their plain loop?

Bound: forward and backward are three matrix products for each matrix of a step, 2 x 3 operations an element, sample and
time step. CfC stands beside the authors' package in cfc.py.
"""

from contextlib import nullcontext
from unittest.mock import patch

import torch
from _interleaved import measure_medians, show
from torch import nn

import remanence.nn

torch.set_num_threads(2)
BATCHES, TIME, UNITS = (1, 32), 128, (64, 256)
RIVALS = {
    "gru": lambda size: nn.GRU(size, size, batch_first=True),
    "elman": lambda size: nn.RNN(size, size, batch_first=True),
    "orthogonal": None,
    "urnn": None,
    "alstm": None,
    "slstm": None,
    "nbrc": None,
    "mgu": None,
}
"""None: its plain loop."""


def prepare_both_ways(layer: nn.Module, x: torch.Tensor, *, loop: bool = False):
    def call():
        with patch("remanence.ops.recurrence.is_compiled", lambda *_, **__: False) if loop else nullcontext():
            layer.zero_grad()
            layer(x)[0].sum().backward()

    return call


def main() -> None:
    for units in UNITS:
        for batch in BATCHES:
            for name, rival in RIVALS.items():
                x = torch.randn(batch, TIME, units)
                layer = remanence.nn.create(name, input_size=units, hidden_size=units)
                if rival is None:
                    ways = {"its plain loop": prepare_both_ways(layer, x, loop=True)}
                else:
                    other = rival(units)
                    ways = {f"torch.nn.{type(other).__name__}": prepare_both_ways(other, x)}
                ways[name] = prepare_both_ways(layer, x)
                title = f"{name}: batch {batch}, time {TIME}, {units} units, forward + backward"
                show(title, measure_medians(ways, 7), name)


if __name__ == "__main__":
    main()
