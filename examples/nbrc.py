"""Neuromodulated bistable cell (nBRC, Vecoven et al. 2021): two matrices set where a unit is bistable, and how slow."""

import torch
from torch import Tensor, nn

import remanence


def step(state: tuple[Tensor], inputs: tuple[Tensor, ...], params: tuple[Tensor, ...]) -> tuple[Tensor]:
    """a = 1 + tanh(U_a x + W_a h), c = σ(U_c x + W_c h); then h <- c h + (1 - c) tanh(U x + a h)."""
    (h,), (drive, for_a, for_c), (weight,) = state, inputs, params
    of_a, of_c = (h @ weight).chunk(2, -1)
    a, c = 1 + torch.tanh(for_a + of_a), torch.sigmoid(for_c + of_c)
    return (c * h + (1 - c) * torch.tanh(drive + a * h),)


class NBRC(nn.Module):
    """The gates see every unit; each unit sees itself alone."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.drive = nn.Linear(input_size, 3 * hidden_size)
        self.weight = nn.Parameter(torch.randn(hidden_size, 2 * hidden_size) * hidden_size**-0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        start = x.new_zeros(len(x), len(self.weight))
        (h,), (final,) = remanence.scan(step, self.drive(x).chunk(3, -1), [start], [self.weight])
        return h, final


if __name__ == "__main__":
    y, h = NBRC(4, 8)(torch.randn(2, 100, 4))
    print(f"output {list(y.shape)}, last state {list(h.shape)}")
