"""Sums over synapses, and neurons over time, where most synapses are there."""

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence._kernels.buffers import allocate
from remanence._kernels.launch import count_parts, launch, vector_width
from remanence.ops.ltc import dense_source
from remanence.ops.ltc.edges import Edges, Strengths
from remanence.ops.ltc.evolution import Evolution, Gradients, Kept
from remanence.ops.ltc.terms import backward_terms, forward_terms, gradients


def cost(edges: Edges, samples: int, dtype: torch.dtype) -> int:
    """How many registers of synapses the slowest thread computes."""
    many = _many(samples)
    units = -(-samples // many)
    return -(-units // count_parts(units)) * many * edges.senders * -(-edges.receivers // vector_width(dtype))


def _many(samples: int) -> int:
    """Samples in a unit of work: so few that every thread has something to do."""
    share = samples // torch.get_num_threads()
    return 4 if share >= 4 else 2 if share >= 2 else 1


def arriving(x: Tensor, edges: Edges, strengths: Strengths) -> tuple[Tensor, Tensor]:
    """Σ conductance and Σ conductance · E, [samples, receivers], from x [samples, senders]."""
    samples = len(x)
    many = _many(samples)
    sums = [allocate(samples, edges.receivers, dtype=x.dtype) for _ in range(2)]
    planes = _planes(edges, forward_terms(strengths))
    source, units = dense_source.arriving_forward(many), -(-samples // many)
    launch(source, x.dtype, units, samples, edges.senders, edges.receivers, x.contiguous(), planes, *sums)
    return sums[0], sums[1]


def arriving_backward(
    x: Tensor, edges: Edges, strengths: Strengths, grads: tuple[Tensor, Tensor]
) -> tuple[Tensor, Strengths]:
    """Gradients of x and of the synapses, from those of both sums."""
    samples = len(x)
    many = _many(samples)
    units = -(-samples // many)
    of_x = x.new_zeros(x.shape)
    sums, scratch = _sums(edges, x.dtype, units), _scratch(edges, x.dtype, units, 2 * many)
    above = [value for grad in _rows(grads) for value in (grad, grad.stride(0) * x.itemsize)]
    planes = _planes(edges, backward_terms(strengths))
    sizes = samples, edges.senders, edges.receivers
    kernel = dense_source.arriving_backward(many)
    launch(kernel, x.dtype, units, *sizes, x.contiguous(), planes, *above, of_x, sums, scratch)
    return of_x, _of_synapses(sums, edges, strengths)


def evolve(given: Evolution, keep: bool) -> tuple[Tensor, Kept]:
    """States over time, [batch, time, neurons]; see :func:`remanence.ops.ltc.reference.evolve`.

    Args:
        given: all arguments.
        keep: whether the way back will be gone; else only the last two states are kept.
    """
    batch, time, neurons = given.conductance.shape
    dtype, many, width = given.v.dtype, _many(batch), _padded(given.edges, given.v.dtype)
    rows = time * given.sub_steps if keep else 2
    kept = Kept(allocate(batch, rows + 1, width, dtype=dtype), allocate(batch, rows, width, dtype=dtype))
    states = allocate(batch, time, neurons, dtype=dtype)
    outside = [value for x in _rows((given.conductance, given.current)) for value in (x, *_strides(x))]
    launch(
        dense_source.evolve_forward(many),
        dtype,
        -(-batch // many),
        *(batch, time, given.sub_steps, neurons, -1 if keep else 1),
        given.v.contiguous(),
        *outside,
        *_outside(given, _planes(given.edges, forward_terms(given.strengths)), kept),
        states,
    )
    return states, kept


def evolve_backward(given: Evolution, kept: Kept, grads: tuple[Tensor, Tensor]) -> Gradients:
    """Gradients of what was given.

    Args:
        given: as for :func:`evolve`.
        kept: what that kept.
        grads: of the states over time, and of the last state.
    """
    of_states, of_last = _rows(grads)
    batch, time, neurons = of_states.shape
    edges, dtype, many = given.edges, of_states.dtype, _many(batch)
    units = -(-batch // many)
    of_v = allocate(batch, neurons, dtype=dtype)
    of_conductance, of_current = (allocate(batch, time, neurons, dtype=dtype) for _ in range(2))
    of_moved = torch.zeros(batch, time, dtype=dtype)
    of_capacitance = torch.zeros(count_parts(units), _padded(edges, dtype), dtype=dtype)
    sums, scratch = _sums(edges, dtype, units), _scratch(edges, dtype, units, 5 * many)
    launch(
        dense_source.evolve_backward(many),
        dtype,
        units,
        *(batch, time, given.sub_steps, neurons),
        *_outside(given, _planes(edges, backward_terms(given.strengths)), kept),
        *(of_states, *_strides(of_states), of_last, of_last.stride(0) * dtype.itemsize),
        *(of_v, of_conductance, of_current, of_moved, of_capacitance, sums, scratch),
    )
    of_synapses = _of_synapses(sums, edges, given.strengths)
    return Gradients(of_v, of_conductance, of_current, of_moved, of_capacitance.sum(0)[:neurons], of_synapses)


def _outside(given: Evolution, planes: Tensor, kept: Kept) -> list[Tensor | int]:
    """The arguments that both ways have in common."""
    delta, capacitance = given.delta, given.capacitance
    size = delta.itemsize
    steps = [0 if length == 1 else stride * size for length, stride in zip(delta.shape, delta.stride(), strict=True)]
    padded = F.pad(capacitance, (0, planes.shape[-1] - len(capacitance)), value=1.0)
    rows = [value for x in kept for value in (x, x.stride(0) * size)]
    return [delta, *steps, padded, planes, *rows]


def _padded(edges: Edges, dtype: torch.dtype) -> int:
    lanes = vector_width(dtype)
    return -(-edges.receivers // lanes) * lanes


def _rows(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """The same with neighbouring channels side by side."""
    return [x if x.stride(-1) == 1 else x.contiguous() for x in tensors]


def _strides(x: Tensor) -> tuple[int, int]:
    return x.stride(0) * x.itemsize, x.stride(1) * x.itemsize


def _planes(edges: Edges, terms: Tensor) -> Tensor:
    """Terms of synapses as [terms, senders, padded receivers], 0 where there is no synapse."""
    planes = torch.zeros(len(terms), edges.senders, _padded(edges, terms.dtype), dtype=terms.dtype)
    if edges.full:
        planes[..., : edges.receivers] = terms.view(-1, edges.receivers, edges.senders).mT
    else:
        planes[:, edges.sender, edges.receiver] = terms
    return planes


def _sums(edges: Edges, dtype: torch.dtype, units: int) -> Tensor:
    return torch.zeros(count_parts(units), 4, edges.senders, _padded(edges, dtype), dtype=dtype)


def _scratch(edges: Edges, dtype: torch.dtype, units: int, rows: int) -> Tensor:
    return torch.empty(count_parts(units), rows, _padded(edges, dtype), dtype=dtype)


def _of_synapses(sums: Tensor, edges: Edges, strengths: Strengths) -> Strengths:
    planes = sums.sum(0)
    if edges.full:
        return gradients(planes[..., : edges.receivers].mT.flatten(1), strengths)
    return gradients(planes[:, edges.sender, edges.receiver], strengths)
