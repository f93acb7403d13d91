"""Instruments: what a recurrent network keeps, and why it forgets, for any module (:func:`as_step`)."""

from remanence.analysis.adapters import as_step
from remanence.analysis.gradient_flow import GradientFlow, gradient_flow
from remanence.analysis.lyapunov import LyapunovExponents, lyapunov_exponents
from remanence.analysis.spectra import Spectrum, spectrum
from remanence.analysis.step import Step

__all__ = [
    "GradientFlow",
    "LyapunovExponents",
    "Spectrum",
    "Step",
    "as_step",
    "gradient_flow",
    "lyapunov_exponents",
    "spectrum",
]
