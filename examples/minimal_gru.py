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
        update, candidate = self.drive(x).chunk(2, -1)
        (h,), (final,) = remanence.scan(step, [update, candidate], [torch.zeros_like(update[:, 0])])
        return h, final


if __name__ == "__main__":
    y, h = MinGRU(4, 8)(torch.randn(2, 1000, 4))
    print(f"output {list(y.shape)}, last state {list(h.shape)}")
