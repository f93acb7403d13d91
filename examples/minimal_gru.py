"""MinGRU (Feng et al. 2024, "Were RNNs all we needed?"): a GRU whose gates see the input only, as one fused scan."""

import torch
from torch import Tensor, nn

import remanence


def step(state: tuple[Tensor], inputs: tuple[Tensor, Tensor], params: tuple[()]) -> tuple[Tensor]:
    """h <- (1 - z) h + z h~."""
    (h,), (update, candidate) = state, inputs
    z = torch.sigmoid(update)
    return ((1 - z) * h + z * candidate,)


class MinGRU(nn.Module):
    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.drive = nn.Linear(input_size, 2 * hidden_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        drives = self.drive(x).unflatten(-1, (2, -1))  # both inputs in one tensor
        (h,), (final,) = remanence.scan(step, drives, [torch.zeros_like(drives[:, 0, 0])])
        return h, final


if __name__ == "__main__":
    y, h = MinGRU(4, 8)(torch.randn(2, 1000, 4))
    print(f"output {list(y.shape)}, last state {list(h.shape)}")
