"""Decays for each head that depend on the input."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DecayGate(nn.Module):
    """Computes how much each head keeps: ``α = exp(-exp(A_log) softplus(a + dt_bias))``, returned as its logarithm.

    Args:
        heads: number of heads.

    Parameters:
        A_log [heads], the logarithm of the rate; dt_bias [heads], the bias of the step size.
    """

    def __init__(self, heads: int):
        super().__init__()
        self.A_log = nn.Parameter(torch.empty(heads))
        self.dt_bias = nn.Parameter(torch.empty(heads))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw rates from 0 to 16, and step sizes softplus(dt_bias) from 0.001 to 0.1, as Mamba-2 does."""
        self.A_log.uniform_(1e-4, 16).log_()
        step = self.dt_bias.uniform_(math.log(1e-3), math.log(0.1)).exp()
        self.dt_bias.copy_(step + torch.log(-torch.expm1(-step)))  # the inverse of softplus

    def forward(self, a: Tensor) -> Tensor:
        """Compute log α from a; both are [..., heads]."""
        return -self.A_log.exp() * F.softplus(a + self.dt_bias)


class LogisticDecayGate(nn.Module):
    """Computes how much each head keeps: ``α = σ(a + bias)``, returned as its logarithm.

    Args:
        heads: number of heads.

    Parameters:
        bias [heads], 0 at first.
    """

    def __init__(self, heads: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(heads))

    def reset_parameters(self) -> None:
        """Set the bias to 0."""
        nn.init.zeros_(self.bias)

    def forward(self, a: Tensor) -> Tensor:
        """Compute log α from a; both are [..., heads]."""
        return F.logsigmoid(a + self.bias)
