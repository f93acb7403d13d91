"""The coefficients of a synapse that the kernels read, and its gradients from the sums that they add up."""

import torch
from torch import Tensor

from remanence.ops.ltc.edges import SynapseParameters


def forward_terms(parameters: SynapseParameters) -> Tensor:
    """Return γ and -γ μ, for the argument of σ, and the factors w and w E, [4, edges]."""
    weight, slope, threshold, potential = parameters
    return torch.stack([slope, -slope * threshold, weight, weight * potential])


def backward_terms(parameters: SynapseParameters) -> Tensor:
    """Return γ and -γ μ; E, by which the gradient of a current becomes that of a conductance; and w γ."""
    weight, slope, threshold, potential = parameters
    return torch.stack([slope, -slope * threshold, potential, weight * slope])


def parameter_gradients(sums: Tensor, parameters: SynapseParameters) -> SynapseParameters:
    """Compute the gradients of the parameters from the four sums of every synapse, [4, edges].

    With s = σ(γ (v - μ)), g the gradient of the current, and p that of the conductance plus E g: Σ p s, Σ g s,
    Σ p s (1 - s) and Σ p s (1 - s) v.
    """
    weight, slope, threshold, _ = parameters
    opened, driven, steep, moved = sums
    return SynapseParameters(opened, weight * (moved - threshold * steep), -weight * slope * steep, weight * driven)
