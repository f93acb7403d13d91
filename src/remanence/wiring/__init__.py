"""Connectivity: graphs of synapses, built by name or provided by the user."""

from remanence.wiring.builders import dense, isolated, lattice, random, small_world
from remanence.wiring.graph import Wiring
from remanence.wiring.ncp import auto_ncp, ncp
from remanence.wiring.order import firing_order, levels

__all__ = [
    "Wiring",
    "auto_ncp",
    "dense",
    "firing_order",
    "isolated",
    "lattice",
    "levels",
    "ncp",
    "random",
    "small_world",
]
