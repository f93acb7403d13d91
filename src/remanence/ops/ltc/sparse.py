"""Kernels on CPUs for sums over synapses and for neurons over time, if few synapses exist."""

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence._kernels.buffers import allocate
from remanence._kernels.launch import count_parts, launch, vector_width
from remanence.ops.ltc import sparse_source
from remanence.ops.ltc.edges import Edges, SynapseParameters
from remanence.ops.ltc.evolution import Evolution, Gradients, Residuals
from remanence.ops.ltc.terms import backward_terms, forward_terms, parameter_gradients


def cost(edges: Edges, samples: int, dtype: torch.dtype) -> float:
    """Return how many vector registers of synapses the slowest thread computes, in the unit of ``dense.cost``."""
    units = -(-samples // vector_width(dtype))
    return 1.4 * -(-units // count_parts(units)) * len(edges)


def sum_synapses(x: Tensor, edges: Edges, parameters: SynapseParameters) -> tuple[Tensor, Tensor]:
    """Compute Σ conductance and Σ conductance · E, [samples, receivers], from x [samples, senders]."""
    values = _to_lanes(x)
    units, lanes = len(values), values.shape[-1]
    sums = [allocate(units, edges.receivers, lanes, dtype=x.dtype) for _ in range(2)]
    graph = _graph_arguments(edges, forward_terms(parameters), lanes)
    launch(sparse_source.sum_synapses_forward(), x.dtype, units, edges.senders, edges.receivers, *graph, values, *sums)
    conductance, current = (_from_lanes(each, len(x)) for each in sums)
    return conductance, current


def sum_synapses_backward(
    x: Tensor, edges: Edges, parameters: SynapseParameters, grads: tuple[Tensor, Tensor]
) -> tuple[Tensor, SynapseParameters]:
    """Compute the gradients of x and of the parameters from those of both sums."""
    values = _to_lanes(x)
    units, lanes = len(values), values.shape[-1]
    of_values = torch.zeros_like(values)
    sums = _allocate_sums(edges, x.dtype, units, lanes)
    graph = _graph_arguments(edges, backward_terms(parameters), lanes)
    above = [_to_lanes(grad) for grad in grads]
    sizes = edges.senders, edges.receivers
    launch(sparse_source.sum_synapses_backward(), x.dtype, units, *sizes, *graph, values, *above, of_values, sums)
    return _from_lanes(of_values, len(x)), parameter_gradients(sums.sum((0, -1)).t(), parameters)


def evolve(given: Evolution, save_residuals: bool) -> tuple[Tensor, Residuals]:
    """Compute the states over time, as :func:`remanence.ops.ltc.dense.evolve` does."""
    batch, time, neurons = given.conductance.shape
    start, pulling, driving = (_to_lanes(each) for each in (given.v, given.conductance, given.current))
    units, lanes, dtype = len(start), start.shape[-1], start.dtype
    rows = time * given.sub_steps if save_residuals else 2
    residuals = Residuals(
        allocate(units, rows + 1, neurons, lanes, dtype=dtype), allocate(units, rows, neurons, lanes, dtype=dtype)
    )
    states = allocate(units, time, neurons, lanes, dtype=dtype)
    launch(
        sparse_source.evolve_forward(given.reset is not None),
        dtype,
        units,
        *(time, given.sub_steps, neurons, -1 if save_residuals else 1),
        *_graph_arguments(given.edges, forward_terms(given.parameters), lanes),
        *_list_shared_arguments(given, residuals),
        *(start, pulling, driving, states),
        *(_to_lanes(each) for each in (given.reset, given.first) if each is not None),
    )
    return _from_lanes(states, batch), residuals


def evolve_backward(
    given: Evolution, residuals: Residuals, grads: tuple[Tensor, Tensor], states: Tensor | None
) -> Gradients:
    """Compute the gradients, as :func:`remanence.ops.ltc.dense.evolve_backward` does."""
    batch, time, neurons = grads[0].shape
    of_states, of_last = (_to_lanes(grad) for grad in grads)
    units, lanes, dtype = len(of_last), of_last.shape[-1], of_last.dtype
    of_v = allocate(units, neurons, lanes, dtype=dtype)
    of_outside = [allocate(units, time, neurons, lanes, dtype=dtype) for _ in range(2)]
    of_moved = torch.empty(units, time, lanes, dtype=dtype)
    of_capacitance = torch.zeros(count_parts(units), neurons, lanes, dtype=dtype)
    scratch = torch.empty(count_parts(units), 3, neurons, lanes, dtype=dtype)
    sums = _allocate_sums(given.edges, dtype, units, lanes)
    of_first, episodes = None, ()
    if given.reset is not None and states is not None:
        of_first = torch.zeros_like(of_last)
        episodes = (_to_lanes(given.reset), _to_lanes(states), of_first)
    launch(
        sparse_source.evolve_backward(given.reset is not None),
        dtype,
        units,
        *(time, given.sub_steps, neurons),
        *_graph_arguments(given.edges, backward_terms(given.parameters), lanes),
        *_list_shared_arguments(given, residuals),
        *(of_states, of_last, of_v, *of_outside, of_moved, of_capacitance, sums, scratch),
        *episodes,
    )
    v, conductance, current, moved = (_from_lanes(each, batch) for each in (of_v, *of_outside, of_moved))
    of_synapses = parameter_gradients(sums.sum((0, -1)).t(), given.parameters)
    first = None if of_first is None else _from_lanes(of_first, batch)
    return Gradients(v, conductance, current, moved, of_capacitance.sum((0, 2)), of_synapses, first)


def _to_lanes(x: Tensor, value: float = 0.0) -> Tensor:
    """Arrange [samples, ...] as [units, ..., lanes]; the last unit is padded with ``value``."""
    lanes = vector_width(x.dtype)
    missing = -len(x) % lanes
    if missing:
        x = F.pad(x, (0, 0) * (x.ndim - 1) + (0, missing), value=value)
    return x.unflatten(0, (-1, lanes)).movedim(1, -1).contiguous()


def _from_lanes(x: Tensor, samples: int) -> Tensor:
    """Undo :func:`_to_lanes`."""
    return x.movedim(-1, 1).flatten(0, 1)[:samples]


def _graph_arguments(edges: Edges, terms: Tensor, lanes: int) -> tuple[int, Tensor, Tensor, Tensor]:
    return len(edges), edges.starts, edges.sender * (lanes * terms.itemsize), terms


def _list_shared_arguments(given: Evolution, residuals: Residuals) -> list[Tensor | int]:
    """Return the arguments that the forward and the backward kernel share."""
    delta = _to_lanes(given.delta.expand(given.conductance.shape[:2]), 1.0)
    rows = [value for x in residuals for value in (x, x.stride(0) * x.itemsize)]
    return [delta, given.capacitance.contiguous(), *rows]


def _allocate_sums(edges: Edges, dtype: torch.dtype, units: int, lanes: int) -> Tensor:
    return torch.zeros(count_parts(units), len(edges), 4, lanes, dtype=dtype)
