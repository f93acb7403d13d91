"""Connectivity: graphs of synapses, built by name or provided by the user."""

from remanence.wiring.builders import dense, isolated, lattice, random, small_world
from remanence.wiring.graph import Adjacency, Wiring
from remanence.wiring.neural_circuit import auto_ncp, ncp
from remanence.wiring.order import firing_order, levels

__all__ = [
    "Adjacency",
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
