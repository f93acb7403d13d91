"""What the kernels need to know of a synapse, and what they add up for it."""

import torch
from torch import Tensor

from remanence.ops.ltc.edges import Strengths


def forward_terms(strengths: Strengths) -> Tensor:
    """γ and -γ μ, the argument of σ; w and w E, what it is multiplied by, [4, edges]."""
    weight, slope, threshold, potential = strengths
    return torch.stack([slope, -slope * threshold, weight, weight * potential])


def backward_terms(strengths: Strengths) -> Tensor:
    """γ and -γ μ; E, by which a current's gradient is that of a conductance; w γ, by which it reaches the sender."""
    weight, slope, threshold, potential = strengths
    return torch.stack([slope, -slope * threshold, potential, weight * slope])


def gradients(sums: Tensor, strengths: Strengths) -> Strengths:
    """Gradients of the parameters from the four sums of every synapse, [4, edges].

    With s = σ(γ (v - μ)), g the gradient of the current, and p that of the conductance plus E g: Σ p s, Σ g s,
    Σ p s (1 - s) and Σ p s (1 - s) v.
    """
    weight, slope, threshold, _ = strengths
    opened, driven, steep, moved = sums
    return Strengths(opened, weight * (moved - threshold * steep), -weight * slope * steep, weight * driven)
