"""The plain formulas: slow, obvious, the truth that the kernels are tested against."""

import torch
from torch import Tensor

from remanence.synaptic.edges import Edges, Strengths


def arriving(x: Tensor, edges: Edges, strengths: Strengths) -> tuple[Tensor, Tensor]:
    """Σ conductance and Σ conductance · E at each receiver, from senders x [..., senders]."""
    weight, slope, threshold, potential = strengths
    senders = x.index_select(-1, edges.sender.to(x.device))
    conductance = weight * torch.sigmoid(slope * (senders - threshold))
    return _sums(conductance, edges), _sums(conductance * potential, edges)


def _sums(values: Tensor, edges: Edges) -> Tensor:
    if edges.full:
        return values.unflatten(-1, (edges.receivers, edges.senders)).sum(-1)
    zeros = values.new_zeros(*values.shape[:-1], edges.receivers)
    return zeros.index_add(-1, edges.receiver.to(values.device), values)


def evolve(
    v: Tensor,
    conductance: Tensor,
    current: Tensor,
    rate: Tensor,
    capacitance: Tensor,
    edges: Edges,
    strengths: Strengths,
    sub_steps: int,
) -> tuple[Tensor, Tensor]:
    """States over time and the last one, from v [batch, neurons]; arguments as :func:`remanence.synaptic.evolve`.

    Only ``rate`` differs: 1/Δ, [batch, time] or [1, 1].
    """
    over_time = []
    steps = conductance.shape[1]
    rates = rate.expand(-1, steps).unbind(1)
    for from_outside, pulling, one in zip(conductance.unbind(1), current.unbind(1), rates, strict=True):
        inertia = capacitance * one[:, None]  # C/Δ
        for _ in range(sub_steps):
            opened, drive = arriving(v, edges, strengths)
            v = (inertia * v + drive + pulling) / (inertia + opened + from_outside)
        over_time.append(v)
    return torch.stack(over_time, 1), v
