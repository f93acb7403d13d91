"""Sums over synapses, and the recurrence of liquid neurons: plain formulas, and kernels that are tested against them.

``edges`` says who is connected to whom, ``reference`` holds the formulas. Where most synapses are there ``dense`` runs
``dense_source`` (receivers in vector registers), where few are ``sparse`` runs ``sparse_source`` (samples in vector
registers, one synapse after the other); on GPUs ``gpu`` runs ``triton_source``. ``terms`` is what all need to know of a
synapse, ``autograd`` joins them to PyTorch, ``dispatch`` chooses.
"""

from remanence.ops.ltc.edges import Edges, Strengths
from remanence.ops.ltc.operation import arriving, evolve

__all__ = ["Edges", "Strengths", "arriving", "evolve"]
