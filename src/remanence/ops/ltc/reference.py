"""The plain formulas: slow and obvious; the kernels are tested against them."""

from functools import partial

import torch
from torch import Tensor

from remanence.ops.episodes import begin_anew
from remanence.ops.ltc.edges import Edges, SynapseParameters
from remanence.ops.ltc.evolution import Evolution
from remanence.ops.scan.layout import Tensors
from remanence.ops.time_loop import loop_over_time


def sum_synapses(x: Tensor, edges: Edges, parameters: SynapseParameters) -> tuple[Tensor, Tensor]:
    """Compute Σ conductance and Σ conductance · E of each receiver, from senders x [..., senders]."""
    weight, slope, threshold, potential = parameters
    senders = x.index_select(-1, edges.sender.to(x.device))
    conductance = weight * torch.sigmoid(slope * (senders - threshold))
    return _sum_by_receiver(conductance, edges), _sum_by_receiver(conductance * potential, edges)


def _sum_by_receiver(values: Tensor, edges: Edges) -> Tensor:
    if edges.full:
        return values.unflatten(-1, (edges.receivers, edges.senders)).sum(-1)
    zeros = values.new_zeros(*values.shape[:-1], edges.receivers)
    return zeros.index_add(-1, edges.receiver.to(values.device), values)


def evolve(given: Evolution) -> tuple[Tensor, Tensor]:
    """Compute the states after each time step and after the last one."""
    deltas = given.delta.expand(-1, given.conductance.shape[1])
    resets = () if given.reset is None else (given.reset,)
    (states,), (last,) = loop_over_time(
        partial(_advance, given), [given.v], [given.conductance, given.current, deltas, *resets]
    )
    return states, last


def _advance(given: Evolution, state: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
    (v,), (pulling, driving, delta, *reset) = state, inputs
    if reset and given.first is not None:
        v = begin_anew(reset[0] != 0, given.first, v)
    delta = delta[:, None]
    for _ in range(given.sub_steps):
        opened, drive = sum_synapses(v, given.edges, given.parameters)
        conductance = opened + pulling
        change = (drive + driving - conductance * v) / (given.capacitance + delta * conductance)
        v = v + delta * change  # with Δ = 0 it is v, exactly
    return (v,), (v,)
