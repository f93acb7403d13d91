"""A delta rule memory (Schlag, Irie, Schmidhuber 2021): S <- S + β (v - S k) kᵀ, and y = S q."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import remanence


def step(state: tuple[Tensor, ...], inputs: tuple[Tensor, ...], params: tuple[()]) -> tuple[Tensor, ...]:
    """What is stored under a key is moved towards the value; y is carried, so that the scan gives it."""
    (memory, _), (q, k, v, beta) = state, inputs
    error = v - torch.einsum("bij,bj->bi", memory, k)
    memory = memory + torch.einsum("bi,bj->bij", beta * error, k)
    return memory, torch.einsum("bij,bj->bi", memory, q)


class DeltaRule(nn.Module):
    """One head, of keys with norm 1; ``beta_max=2`` lets the memory change signs, which counting needs."""

    def __init__(self, input_size: int, hidden_size: int, *, beta_max: float = 1.0):
        super().__init__()
        self.beta_max = beta_max
        self.drive = nn.Linear(input_size, 3 * hidden_size + 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        *qkv, beta = self.drive(x).split([(self.drive.out_features - 1) // 3] * 3 + [1], -1)
        q, k, v = F.normalize(qkv[0], dim=-1), F.normalize(qkv[1], dim=-1), qkv[2]
        start = x.new_zeros(len(x), v.shape[-1], k.shape[-1])
        inputs = [q, k, v, self.beta_max * torch.sigmoid(beta)]
        (_, y), (memory, _) = remanence.scan(step, inputs, [start, start[..., 0]])
        return y, memory


if __name__ == "__main__":
    y, memory = DeltaRule(4, 8)(torch.randn(2, 100, 4))
    print(f"output {list(y.shape)}, last memory {list(memory.shape)}")
