"""Instruments that show what a recurrent network remembers and why it forgets; :func:`as_step` adapts any module."""

from typing import TYPE_CHECKING, Any

from remanence.analysis.adapters import as_step
from remanence.analysis.basins_of_attraction import Basins, basins
from remanence.analysis.bifurcation_diagram import Bifurcation, bifurcation
from remanence.analysis.capacity import CapacityCurve, capacity_curve
from remanence.analysis.controllable import Controllability, Reach, controllability
from remanence.analysis.delayed_recall import memory_capacity, retention
from remanence.analysis.empirical import empirical_controllability, empirical_observability
from remanence.analysis.fast_weights import (
    FastAttention,
    FastMemory,
    FastWeightsDynamics,
    fast_attention,
    fast_weights_dynamics,
)
from remanence.analysis.fixed_point_search import FixedPoints, fixed_points
from remanence.analysis.gradient_norms import GradientFlow, gradient_flow
from remanence.analysis.hankel import HankelModes, hankel_modes
from remanence.analysis.holding_neurons import Holding, holding
from remanence.analysis.linearised_control import LinearControl, linear_control
from remanence.analysis.lyapunov import LyapunovExponents, lyapunov_exponents
from remanence.analysis.lyapunov_check import LyapunovCheck, check_lyapunov_function
from remanence.analysis.observable import Observability, observability
from remanence.analysis.quadratic_form import QuadraticLyapunov, quadratic_lyapunov
from remanence.analysis.retention_curve import RetentionCurve
from remanence.analysis.spectra import Spectrum, spectrum
from remanence.analysis.stability import Verdict
from remanence.analysis.state_errors import ErrorCorrection, error_correction
from remanence.analysis.step import Linearisation, Step
from remanence.old_names import find_present_name

__all__ = [
    "Basins",
    "Bifurcation",
    "CapacityCurve",
    "Controllability",
    "ErrorCorrection",
    "FastAttention",
    "FastMemory",
    "FastWeightsDynamics",
    "FixedPoints",
    "GradientFlow",
    "HankelModes",
    "Holding",
    "LinearControl",
    "Linearisation",
    "LyapunovCheck",
    "LyapunovExponents",
    "Observability",
    "QuadraticLyapunov",
    "Reach",
    "RetentionCurve",
    "Spectrum",
    "Step",
    "Verdict",
    "as_step",
    "basins",
    "bifurcation",
    "capacity_curve",
    "check_lyapunov_function",
    "controllability",
    "empirical_controllability",
    "empirical_observability",
    "error_correction",
    "fast_attention",
    "fast_weights_dynamics",
    "fixed_points",
    "gradient_flow",
    "hankel_modes",
    "holding",
    "linear_control",
    "lyapunov_exponents",
    "memory_capacity",
    "observability",
    "quadratic_lyapunov",
    "retention",
    "spectrum",
]

RENAMED = {"lyapunov_function": "check_lyapunov_function"}
"""Present names by old ones. Entries are removed in the version after the one that renamed the function."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Return a function under its old name, with a warning."""
        return globals()[find_present_name(__name__, name, RENAMED)]
