"""Instruments: what a recurrent network keeps, and why it forgets, for any module (:func:`as_step`)."""

from remanence.analysis.adapters import as_step
from remanence.analysis.lyapunov import LyapunovExponents, lyapunov_exponents
from remanence.analysis.spectra import Spectrum, spectrum
from remanence.analysis.step import Step

__all__ = ["LyapunovExponents", "Spectrum", "Step", "as_step", "lyapunov_exponents", "spectrum"]
