"""Instruments: what a recurrent network keeps, and why it forgets, for any module (:func:`as_step`)."""

from remanence.analysis.adapters import as_step
from remanence.analysis.basins import Basins, basins
from remanence.analysis.bifurcation import Bifurcation, bifurcation
from remanence.analysis.capacity import CapacityCurve, capacity_curve
from remanence.analysis.fast_weights import (
    FastAttention,
    FastMemory,
    FastWeightsDynamics,
    fast_attention,
    fast_weights_dynamics,
)
from remanence.analysis.fixed_points import FixedPoints, fixed_points
from remanence.analysis.gradient_flow import GradientFlow, gradient_flow
from remanence.analysis.lyapunov import LyapunovExponents, lyapunov_exponents
from remanence.analysis.retention import memory_capacity, retention
from remanence.analysis.retention_curve import RetentionCurve
from remanence.analysis.spectra import Spectrum, spectrum
from remanence.analysis.stability import Verdict
from remanence.analysis.step import Step

__all__ = [
    "Basins",
    "Bifurcation",
    "CapacityCurve",
    "FastAttention",
    "FastMemory",
    "FastWeightsDynamics",
    "FixedPoints",
    "GradientFlow",
    "LyapunovExponents",
    "RetentionCurve",
    "Spectrum",
    "Step",
    "Verdict",
    "as_step",
    "basins",
    "bifurcation",
    "capacity_curve",
    "fast_attention",
    "fast_weights_dynamics",
    "fixed_points",
    "gradient_flow",
    "lyapunov_exponents",
    "memory_capacity",
    "retention",
    "spectrum",
]
