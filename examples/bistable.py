"""Bistable recurrent cell (Vecoven et al. 2021): h <- c h + (1 - c) tanh(U x + a h), bistable where a > 1."""

import torch
from torch import Tensor, nn

import remanence


def step(state: tuple[Tensor], inputs: tuple[Tensor, ...], params: tuple[Tensor, ...]) -> tuple[Tensor]:
    """a = 1 + tanh(U_a x + w_a h), c = σ(U_c x + w_c h); without params the gates do not see h."""
    (h,), (drive, for_a, for_c) = state, inputs
    w_a, w_c = params or (0.0, 0.0)
    a, c = 1 + torch.tanh(for_a + w_a * h), torch.sigmoid(for_c + w_c * h)
    return (c * h + (1 - c) * torch.tanh(drive + a * h),)


class Bistable(nn.Module):
    """BRC; with ``gates_see_state=False`` the nBRC without its dense recurrence."""

    def __init__(self, input_size: int, hidden_size: int, *, gates_see_state: bool = True):
        super().__init__()
        self.drive = nn.Linear(input_size, 3 * hidden_size)
        self.gates = nn.ParameterList([torch.randn(hidden_size) for _ in "ac"] if gates_see_state else [])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        drives = self.drive(x).unflatten(-1, (3, -1))  # all inputs in one tensor
        (h,), (final,) = remanence.scan(step, drives, [torch.zeros_like(drives[:, 0, 0])], list(self.gates))
        return h, final


if __name__ == "__main__":
    y, h = Bistable(4, 8)(torch.randn(2, 1000, 4))
    print(f"output {list(y.shape)}, last state {list(h.shape)}")
