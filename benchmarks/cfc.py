"""How much faster is nn.CfC than ncps.torch.CfC, the authors' package, with the same weights?

Bound: both do the same matrix products; at 64 units, 128 in the backbone and no timespans ours needs 3/4 of ncps's
multiply-adds in the heads, so what is left to win is everything that is not a matrix product.
"""

import ncps.torch
import torch
from _interleaved import measure_medians, show

from remanence import nn

torch.set_num_threads(2)
BATCH, TIME = 32, 128
MODES = {
    "default": {},
    "no_gate": {"mode": "no_gate"},
    "pure": {"mode": "pure"},
    "mixed memory": {"mixed_memory": True},
}


def prepare_both_ways(layer: torch.nn.Module, x: torch.Tensor):
    def call():
        layer.zero_grad()
        layer(x)[0].sum().backward()

    return call


def main():
    x = torch.randn(BATCH, TIME, 16)
    for mode, options in MODES.items():
        theirs = ncps.torch.CfC(16, 64, **options)
        ways = {
            "ncps.torch.CfC": prepare_both_ways(theirs, x),
            "nn.CfC": prepare_both_ways(nn.CfC.from_ncps(theirs), x),
        }
        show(f"{mode}: batch {BATCH}, time {TIME}, 64 units, forward + backward", measure_medians(ways), "nn.CfC")


if __name__ == "__main__":
    main()
