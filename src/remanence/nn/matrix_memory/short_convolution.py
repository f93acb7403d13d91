"""A short causal convolution for each channel."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.ops.episodes import Episodes


class ShortConvolution(nn.Module):
    """Causal convolution over time for each channel by itself: ``y_t = Σ_j w_j x_{t-j}``, j from 0 to size - 1.

    Args:
        channels: number of channels of the input and of the output.
        size: number of time steps that an output sees, at least 2.

    Parameters:
        weight [channels, size], the oldest step first.
    """

    def __init__(self, channels: int, size: int):
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.empty(channels, size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as ``torch.nn.Conv1d`` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor, window: Tensor, episodes: Episodes | None = None) -> tuple[Tensor, Tensor]:
        """Convolve a piece of a sequence.

        Args:
            x: input [batch, time, channels].
            window: the steps before x, [batch, size - 1, channels]; zeros at first.
            episodes: where samples are reset, which hides the earlier steps, and where they end; default: nowhere.

        Returns:
            The output [batch, time, channels], and the window [batch, size - 1, channels] after the last real step.
        """
        time, size = x.shape[1], self.size
        steps = torch.cat((window, x), 1)
        if episodes is None:
            y = F.conv1d(steps.mT, self.weight[:, None], groups=self.weight.shape[0]).mT
            return y, steps[:, time:].clone()
        since = _count_since_reset(episodes.reset, size)
        y = torch.zeros_like(x)
        for place, weight in enumerate(self.weight.unbind(1)):
            is_hidden = size - 1 - place > since
            y = y + weight * torch.where(is_hidden[..., None], 0, steps[:, place : place + time])
        return y, _cut_window(steps, since, episodes.lengths, size - 1)


def _count_since_reset(reset: Tensor, most: int) -> Tensor:
    """Return how many steps ago each sample was reset, [batch, time]; at least ``most`` where it never was."""
    at = torch.arange(reset.shape[1], device=reset.device)
    return at - torch.where(reset, at, -most).cummax(1).values


def _cut_window(steps: Tensor, since: Tensor, lengths: Tensor | None, size: int) -> Tensor:
    """Return the last ``size`` real steps, [batch, size, channels]; those before a reset are 0."""
    time = since.shape[1]
    ends = torch.full_like(since[:, 0], time) if lengths is None else lengths.to(since)
    visible = torch.where(ends > 0, since.gather(1, (ends - 1).clamp(min=0)[:, None])[:, 0], size)
    place = torch.arange(size, device=steps.device)
    window = steps.gather(1, (ends[:, None] + place)[..., None].expand(-1, -1, steps.shape[2]))
    return torch.where((size - 1 - place > visible[:, None])[..., None], 0, window)
