"""Connectivity: graphs of synapses, built by name or provided by the user."""

import warnings
from typing import TYPE_CHECKING, Any

from remanence.wiring.builders import dense, empty, lattice, random, small_world
from remanence.wiring.graph import Adjacency, Wiring
from remanence.wiring.neural_circuit import auto_ncp, ncp
from remanence.wiring.order import firing_order, levels

__all__ = [
    "Adjacency",
    "Wiring",
    "auto_ncp",
    "dense",
    "empty",
    "firing_order",
    "lattice",
    "levels",
    "ncp",
    "random",
    "small_world",
]

RENAMED = {"isolated": "empty"}
"""Present names by old ones. Entries are removed in the version after the one that renamed the function."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Return a function under its old name, with a warning."""
        if name not in RENAMED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(
            f"wiring.{name} is now called wiring.{RENAMED[name]}; the old name will be removed in the next version",
            FutureWarning,
            stacklevel=2,
        )
        return globals()[RENAMED[name]]
