"""The sLSTM of xLSTM (Beck et al. 2024, equations 8 to 17): exponential gates, a normaliser, a matrix for each head."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import remanence


def step(state: tuple[Tensor, ...], inputs: tuple[Tensor, ...], params: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The state of each head is [batch, heads, units]; m keeps the exponentials in range and cancels out."""
    (h, c, n, m), (drive,), (weight,) = state, inputs, params
    z, i, f, o = (drive + torch.einsum("bhi,hij->bhj", h, weight)).chunk(4, -1)
    f = F.logsigmoid(f)
    top = torch.maximum(f + m, i)
    write, keep = torch.exp(i - top), torch.exp(f + m - top)
    c, n = keep * c + write * torch.tanh(z), keep * n + write
    return torch.sigmoid(o) * c / n, c, n, top


class SLSTM(nn.Module):
    """``hidden_size`` units in so many heads, which do not see each other within a step."""

    def __init__(self, input_size: int, hidden_size: int, heads: int = 1):
        super().__init__()
        units = hidden_size // heads
        self.drive = nn.Linear(input_size, 4 * hidden_size)
        self.weight = nn.Parameter(torch.randn(heads, units, 4 * units) * units**-0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        drive = self.drive(x).unflatten(-1, (len(self.weight), -1))
        start = drive.new_zeros(len(x), len(self.weight), self.weight.shape[1])
        states, final = remanence.scan(step, [drive], [start, start, start, start - 1e9], [self.weight])
        return states[0].flatten(2), final


if __name__ == "__main__":
    y, final = SLSTM(4, 8, heads=2)(torch.randn(2, 100, 4))
    print(f"output {list(y.shape)}, last state {[list(s.shape) for s in final]}")
