"""Connectivity: graphs of synapses, built by name or provided by the user."""

from typing import TYPE_CHECKING, Any

from remanence.old_names import find_present_name
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
        return globals()[find_present_name(__name__, name, RENAMED)]
