"""Sums over synapses, and the recurrence of liquid neurons: plain formulas, and kernels that are tested against them.

``edges`` defines synapses and their parameters, ``reference`` contains the formulas. On CPUs ``dense`` runs
``dense_source`` if most synapses exist (receivers in vector registers), and ``sparse`` runs ``sparse_source`` if few do
(samples in vector registers, one synapse after the other). On GPUs ``gpu`` runs ``gpu_source``. ``terms`` are the
coefficients of a synapse that all kernels use, ``autograd`` records them, and ``operation`` chooses.
"""

from remanence.ops.ltc.edges import Edges, SynapseParameters
from remanence.ops.ltc.operation import evolve, sum_synapses

__all__ = ["Edges", "SynapseParameters", "evolve", "sum_synapses"]
