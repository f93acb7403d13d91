"""Sums over synapses, and neurons over time, where few synapses are there."""

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence._kernels.buffers import allocate
from remanence._kernels.launch import count_parts, launch, vector_width
from remanence.ops.ltc import sparse_source
from remanence.ops.ltc.edges import Edges, Strengths
from remanence.ops.ltc.evolution import Evolution, Gradients, Kept
from remanence.ops.ltc.terms import backward_terms, forward_terms, gradients


def cost(edges: Edges, samples: int, dtype: torch.dtype) -> float:
    """How many registers of synapses the slowest thread computes, as :func:`remanence.ops.ltc.dense.cost` counts."""
    units = -(-samples // vector_width(dtype))
    return 1.4 * -(-units // count_parts(units)) * len(edges)


def arriving(x: Tensor, edges: Edges, strengths: Strengths) -> tuple[Tensor, Tensor]:
    """Σ conductance and Σ conductance · E, [samples, receivers], from x [samples, senders]."""
    values = _to_lanes(x)
    units, lanes = len(values), values.shape[-1]
    sums = [allocate(units, edges.receivers, lanes, dtype=x.dtype) for _ in range(2)]
    graph = _graph(edges, forward_terms(strengths), lanes)
    launch(sparse_source.arriving_forward(), x.dtype, units, edges.senders, edges.receivers, *graph, values, *sums)
    conductance, current = (_from_lanes(each, len(x)) for each in sums)
    return conductance, current


def arriving_backward(
    x: Tensor, edges: Edges, strengths: Strengths, grads: tuple[Tensor, Tensor]
) -> tuple[Tensor, Strengths]:
    """Gradients of x and of the synapses, from those of both sums."""
    values = _to_lanes(x)
    units, lanes = len(values), values.shape[-1]
    of_values = torch.zeros_like(values)
    sums = _sums(edges, x.dtype, units, lanes)
    graph = _graph(edges, backward_terms(strengths), lanes)
    above = [_to_lanes(grad) for grad in grads]
    sizes = edges.senders, edges.receivers
    launch(sparse_source.arriving_backward(), x.dtype, units, *sizes, *graph, values, *above, of_values, sums)
    return _from_lanes(of_values, len(x)), gradients(sums.sum((0, -1)).t(), strengths)


def evolve(given: Evolution, keep: bool) -> tuple[Tensor, Kept]:
    """States over time, as :func:`remanence.ops.ltc.dense.evolve` gives them."""
    batch, time, neurons = given.conductance.shape
    start, pulling, driving = (_to_lanes(each) for each in (given.v, given.conductance, given.current))
    units, lanes, dtype = len(start), start.shape[-1], start.dtype
    rows = time * given.sub_steps if keep else 2
    kept = Kept(
        allocate(units, rows + 1, neurons, lanes, dtype=dtype), allocate(units, rows, neurons, lanes, dtype=dtype)
    )
    states = allocate(units, time, neurons, lanes, dtype=dtype)
    launch(
        sparse_source.evolve_forward(),
        dtype,
        units,
        *(time, given.sub_steps, neurons, -1 if keep else 1),
        *_graph(given.edges, forward_terms(given.strengths), lanes),
        *_outside(given, kept),
        *(start, pulling, driving, states),
    )
    return _from_lanes(states, batch), kept


def evolve_backward(given: Evolution, kept: Kept, grads: tuple[Tensor, Tensor]) -> Gradients:
    """Gradients as :func:`remanence.ops.ltc.dense.evolve_backward` gives them."""
    batch, time, neurons = grads[0].shape
    of_states, of_last = (_to_lanes(grad) for grad in grads)
    units, lanes, dtype = len(of_last), of_last.shape[-1], of_last.dtype
    of_v = allocate(units, neurons, lanes, dtype=dtype)
    of_outside = [allocate(units, time, neurons, lanes, dtype=dtype) for _ in range(2)]
    of_moved = torch.empty(units, time, lanes, dtype=dtype)
    of_capacitance = torch.zeros(count_parts(units), neurons, lanes, dtype=dtype)
    scratch = torch.empty(count_parts(units), 3, neurons, lanes, dtype=dtype)
    sums = _sums(given.edges, dtype, units, lanes)
    launch(
        sparse_source.evolve_backward(),
        dtype,
        units,
        *(time, given.sub_steps, neurons),
        *_graph(given.edges, backward_terms(given.strengths), lanes),
        *_outside(given, kept),
        *(of_states, of_last, of_v, *of_outside, of_moved, of_capacitance, sums, scratch),
    )
    v, conductance, current, moved = (_from_lanes(each, batch) for each in (of_v, *of_outside, of_moved))
    of_synapses = gradients(sums.sum((0, -1)).t(), given.strengths)
    return Gradients(v, conductance, current, moved, of_capacitance.sum((0, 2)), of_synapses)


def _to_lanes(x: Tensor, value: float = 0.0) -> Tensor:
    """[samples, ...] as [units, ..., lanes]; what is missing in the last unit is ``value``."""
    lanes = vector_width(x.dtype)
    missing = -len(x) % lanes
    if missing:
        x = F.pad(x, (0, 0) * (x.ndim - 1) + (0, missing), value=value)
    return x.unflatten(0, (-1, lanes)).movedim(1, -1).contiguous()


def _from_lanes(x: Tensor, samples: int) -> Tensor:
    """The other way round."""
    return x.movedim(-1, 1).flatten(0, 1)[:samples]


def _graph(edges: Edges, terms: Tensor, lanes: int) -> tuple[int, Tensor, Tensor, Tensor]:
    return len(edges), edges.starts, edges.sender * (lanes * terms.itemsize), terms


def _outside(given: Evolution, kept: Kept) -> list[Tensor | int]:
    """The arguments that both ways have in common."""
    delta = _to_lanes(given.delta.expand(given.conductance.shape[:2]), 1.0)
    rows = [value for x in kept for value in (x, x.stride(0) * x.itemsize)]
    return [delta, given.capacitance.contiguous(), *rows]


def _sums(edges: Edges, dtype: torch.dtype, units: int, lanes: int) -> Tensor:
    return torch.zeros(count_parts(units), len(edges), 4, lanes, dtype=dtype)
