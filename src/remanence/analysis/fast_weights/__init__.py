"""Instruments for fast weights: the capacity of A, the convergence of the inner loop, and attention to past states."""

from remanence.analysis.fast_weights.attention_form import FastAttention, fast_attention
from remanence.analysis.fast_weights.dynamics import FastWeightsDynamics, fast_weights_dynamics
from remanence.analysis.fast_weights.fast_memory import FastMemory

__all__ = ["FastAttention", "FastMemory", "FastWeightsDynamics", "fast_attention", "fast_weights_dynamics"]
