"""A nonlinear recurrence of a matrix, as in M²RNN (Mishra et al. 2026): H <- f H + (1 - f) tanh(H W + k vᵀ)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import remanence


def step(state: tuple[Tensor, ...], inputs: tuple[Tensor, ...], params: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Every row of H runs through the same matrix; y = qᵀ H is carried, so that the scan gives it."""
    (memory, _), (q, k, v, f), (weight,) = state, inputs, params
    new = torch.tanh(memory @ weight + torch.einsum("bi,bj->bij", k, v))
    memory = f[..., None] * memory + (1 - f[..., None]) * new
    return memory, torch.einsum("bi,bij->bj", q, memory)


class MatrixRNN(nn.Module):
    """A state of ``key_size`` x ``hidden_size`` with a forget gate."""

    def __init__(self, input_size: int, hidden_size: int, key_size: int = 8):
        super().__init__()
        self.sizes = [key_size, key_size, hidden_size, 1]
        self.drive = nn.Linear(input_size, sum(self.sizes))
        self.weight = nn.Parameter(torch.eye(hidden_size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v, f = self.drive(x).split(self.sizes, -1)
        start = x.new_zeros(len(x), k.shape[-1], v.shape[-1])
        inputs = [q, F.normalize(k, dim=-1), v, torch.sigmoid(f)]
        (_, y), (memory, _) = remanence.scan(step, inputs, [start, start[:, 0]], [self.weight])
        return y, memory


if __name__ == "__main__":
    y, memory = MatrixRNN(4, 8)(torch.randn(2, 100, 4))
    print(f"output {list(y.shape)}, last memory {list(memory.shape)}")
