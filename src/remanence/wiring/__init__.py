"""Who is connected to whom: graphs of synapses, built by name or brought along."""

from remanence.wiring.builders import dense, isolated, lattice, random, small_world
from remanence.wiring.graph import Wiring
from remanence.wiring.ncp import auto_ncp, ncp

__all__ = ["Wiring", "auto_ncp", "dense", "isolated", "lattice", "ncp", "random", "small_world"]
