"""Kernels on CPUs for sums over synapses and for neurons over time, if most synapses exist."""

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence._kernels.buffers import allocate
from remanence._kernels.launch import count_parts, launch, vector_width
from remanence.ops.ltc import dense_source
from remanence.ops.ltc.edges import Edges, SynapseParameters
from remanence.ops.ltc.evolution import Evolution, Gradients, Residuals
from remanence.ops.ltc.terms import backward_terms, forward_terms, parameter_gradients


def cost(edges: Edges, samples: int, dtype: torch.dtype) -> int:
    """Return how many vector registers of synapses the slowest thread computes."""
    many = _samples_per_unit(samples)
    units = -(-samples // many)
    return -(-units // count_parts(units)) * many * edges.senders * -(-edges.receivers // vector_width(dtype))


def _samples_per_unit(samples: int) -> int:
    """Return the number of samples in a unit of work, so few that every thread has something to do."""
    share = samples // torch.get_num_threads()
    return 4 if share >= 4 else 2 if share >= 2 else 1


def sum_synapses(x: Tensor, edges: Edges, parameters: SynapseParameters) -> tuple[Tensor, Tensor]:
    """Compute Σ conductance and Σ conductance · E, [samples, receivers], from x [samples, senders]."""
    samples = len(x)
    many = _samples_per_unit(samples)
    sums = [allocate(samples, edges.receivers, dtype=x.dtype) for _ in range(2)]
    planes = _make_planes(edges, forward_terms(parameters))
    source, units = dense_source.sum_synapses_forward(many), -(-samples // many)
    launch(source, x.dtype, units, samples, edges.senders, edges.receivers, x.contiguous(), planes, *sums)
    return sums[0], sums[1]


def sum_synapses_backward(
    x: Tensor, edges: Edges, parameters: SynapseParameters, grads: tuple[Tensor, Tensor]
) -> tuple[Tensor, SynapseParameters]:
    """Compute the gradients of x and of the parameters from those of both sums."""
    samples = len(x)
    many = _samples_per_unit(samples)
    units = -(-samples // many)
    of_x = x.new_zeros(x.shape)
    sums, scratch = _allocate_sums(edges, x.dtype, units), _allocate_scratch(edges, x.dtype, units, 2 * many)
    above = [value for grad in _with_unit_stride(grads) for value in (grad, grad.stride(0) * x.itemsize)]
    planes = _make_planes(edges, backward_terms(parameters))
    sizes = samples, edges.senders, edges.receivers
    kernel = dense_source.sum_synapses_backward(many)
    launch(kernel, x.dtype, units, *sizes, x.contiguous(), planes, *above, of_x, sums, scratch)
    return of_x, _parameter_gradients(sums, edges, parameters)


def evolve(given: Evolution, save_residuals: bool) -> tuple[Tensor, Residuals]:
    """Compute the states over time, [batch, time, neurons], as :func:`remanence.ops.ltc.reference.evolve` does.

    Args:
        given: all arguments.
        save_residuals: whether a backward pass will follow; otherwise only the last two states are kept.
    """
    batch, time, neurons = given.conductance.shape
    dtype, many, width = given.v.dtype, _samples_per_unit(batch), _round_up_width(given.edges, given.v.dtype)
    rows = time * given.sub_steps if save_residuals else 2
    residuals = Residuals(allocate(batch, rows + 1, width, dtype=dtype), allocate(batch, rows, width, dtype=dtype))
    states = allocate(batch, time, neurons, dtype=dtype)
    outside = [value for x in _with_unit_stride((given.conductance, given.current)) for value in (x, *_byte_strides(x))]
    launch(
        dense_source.evolve_forward(many, given.reset is not None),
        dtype,
        -(-batch // many),
        *(batch, time, given.sub_steps, neurons, -1 if save_residuals else 1),
        given.v.contiguous(),
        *outside,
        *_list_shared_arguments(given, _make_planes(given.edges, forward_terms(given.parameters)), residuals),
        states,
        *(each.contiguous() for each in (given.reset, given.first) if each is not None),
    )
    return states, residuals


def evolve_backward(
    given: Evolution, residuals: Residuals, grads: tuple[Tensor, Tensor], states: Tensor | None
) -> Gradients:
    """Compute the gradients of the arguments.

    Args:
        given: the arguments of :func:`evolve`.
        residuals: what :func:`evolve` saved.
        grads: gradients of the states over time, and of the last state.
        states: the states after every time step if samples are reset; otherwise None.
    """
    of_states, of_last = _with_unit_stride(grads)
    batch, time, neurons = of_states.shape
    edges, dtype, many = given.edges, of_states.dtype, _samples_per_unit(batch)
    units = -(-batch // many)
    of_v = allocate(batch, neurons, dtype=dtype)
    of_conductance, of_current = (allocate(batch, time, neurons, dtype=dtype) for _ in range(2))
    of_moved = torch.zeros(batch, time, dtype=dtype)
    of_capacitance = torch.zeros(count_parts(units), _round_up_width(edges, dtype), dtype=dtype)
    sums, scratch = _allocate_sums(edges, dtype, units), _allocate_scratch(edges, dtype, units, 5 * many)
    of_first, episodes = None, ()
    if given.reset is not None and states is not None:
        of_first = torch.zeros(batch, neurons, dtype=dtype)
        episodes = (given.reset.contiguous(), states, of_first)
    launch(
        dense_source.evolve_backward(many, given.reset is not None),
        dtype,
        units,
        *(batch, time, given.sub_steps, neurons),
        *_list_shared_arguments(given, _make_planes(edges, backward_terms(given.parameters)), residuals),
        *(of_states, *_byte_strides(of_states), of_last, of_last.stride(0) * dtype.itemsize),
        *(of_v, of_conductance, of_current, of_moved, of_capacitance, sums, scratch),
        *episodes,
    )
    of_synapses, of_capacitance = _parameter_gradients(sums, edges, given.parameters), of_capacitance.sum(0)[:neurons]
    return Gradients(of_v, of_conductance, of_current, of_moved, of_capacitance, of_synapses, of_first)


def _list_shared_arguments(given: Evolution, planes: Tensor, residuals: Residuals) -> list[Tensor | int]:
    """Return the arguments that the forward and the backward kernel share."""
    delta, capacitance = given.delta, given.capacitance
    size = delta.itemsize
    steps = [0 if length == 1 else stride * size for length, stride in zip(delta.shape, delta.stride(), strict=True)]
    padded = F.pad(capacitance, (0, planes.shape[-1] - len(capacitance)), value=1.0)
    rows = [value for x in residuals for value in (x, x.stride(0) * size)]
    return [delta, *steps, padded, planes, *rows]


def _round_up_width(edges: Edges, dtype: torch.dtype) -> int:
    lanes = vector_width(dtype)
    return -(-edges.receivers // lanes) * lanes


def _with_unit_stride(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the tensors with neighbouring channels adjacent in memory."""
    return [x if x.stride(-1) == 1 else x.contiguous() for x in tensors]


def _byte_strides(x: Tensor) -> tuple[int, int]:
    return x.stride(0) * x.itemsize, x.stride(1) * x.itemsize


def _make_planes(edges: Edges, terms: Tensor) -> Tensor:
    """Arrange terms of synapses as [terms, senders, padded receivers], 0 where there is no synapse."""
    planes = torch.zeros(len(terms), edges.senders, _round_up_width(edges, terms.dtype), dtype=terms.dtype)
    if edges.full:
        planes[..., : edges.receivers] = terms.view(-1, edges.receivers, edges.senders).mT
    else:
        planes[:, edges.sender, edges.receiver] = terms
    return planes


def _allocate_sums(edges: Edges, dtype: torch.dtype, units: int) -> Tensor:
    return torch.zeros(count_parts(units), 4, edges.senders, _round_up_width(edges, dtype), dtype=dtype)


def _allocate_scratch(edges: Edges, dtype: torch.dtype, units: int, rows: int) -> Tensor:
    return torch.empty(count_parts(units), rows, _round_up_width(edges, dtype), dtype=dtype)


def _parameter_gradients(sums: Tensor, edges: Edges, parameters: SynapseParameters) -> SynapseParameters:
    planes = sums.sum(0)
    if edges.full:
        return parameter_gradients(planes[..., : edges.receivers].mT.flatten(1), parameters)
    return parameter_gradients(planes[:, edges.sender, edges.receiver], parameters)
