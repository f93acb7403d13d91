"""Layer-normalised LSTM (Ba, Kiros, Hinton 2016, equations 20 to 22)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import remanence


def step(state: tuple[Tensor, ...], inputs: tuple[Tensor, ...], params: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The norms of what comes from h and of the cell; that of what comes from x is taken before the scan."""
    (h, c), (drive,), (weight, gain, gain_c, shift_c) = state, inputs, params
    i, f, g, o = (drive + F.layer_norm(h @ weight, gain.shape, gain)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(F.layer_norm(c, gain_c.shape, gain_c, shift_c)), c


class LayerNormLSTM(nn.Module):
    """The weights of ``torch.nn.LSTM``, and a layer norm wherever two things are added."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.drive = nn.Sequential(nn.Linear(input_size, 4 * hidden_size, bias=False), nn.LayerNorm(4 * hidden_size))
        self.weight = nn.Parameter(torch.randn(hidden_size, 4 * hidden_size) * hidden_size**-0.5)
        self.norm = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_c = nn.LayerNorm(hidden_size)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        start = x.new_zeros(len(x), len(self.weight))
        params = [self.weight, self.norm.weight, self.norm_c.weight, self.norm_c.bias]
        (h, _), final = remanence.scan(step, [self.drive(x)], [start, start], params)
        return h, final


if __name__ == "__main__":
    y, final = LayerNormLSTM(4, 8)(torch.randn(2, 100, 4))
    print(f"output {list(y.shape)}, last state {[list(s.shape) for s in final]}")
