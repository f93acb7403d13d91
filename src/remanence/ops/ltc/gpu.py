"""Kernels on GPUs for sums over synapses and for neurons over time."""

from typing import Any

import torch
from torch import Tensor

from remanence._kernels import triton_support
from remanence._kernels.source_text import load_functions
from remanence.ops.ltc.edges import Edges, SynapseParameters
from remanence.ops.ltc.evolution import Evolution, Gradients, Residuals
from remanence.ops.ltc.gpu_source import TEXT
from remanence.ops.ltc.terms import backward_terms, forward_terms, parameter_gradients

REAL = {torch.float32: "float32", torch.float64: "float64"}
LARGEST_TILE = 64
PROGRAMS = 512
"""The most programs of a backward kernel; each adds up gradients in memory of its own."""


def refuses(like: Tensor) -> str | None:
    """Return why Triton cannot run on tensors like this one, or None."""
    return triton_support.refuses(like, REAL)


def sum_synapses(x: Tensor, edges: Edges, parameters: SynapseParameters) -> tuple[Tensor, Tensor]:
    """Compute Σ conductance and Σ conductance · E, [samples, receivers], from x [samples, senders]."""
    sums = [_allocate(x, len(x), edges.receivers) for _ in range(2)]
    tiles = _choose_tiles(edges, x.dtype)
    planes = _make_planes(edges, forward_terms(parameters))
    grid = len(x), -(-edges.receivers // tiles["ROWS"])
    _launch("sum_synapses_forward", grid, x, edges.receivers, edges.senders, x.contiguous(), planes, *sums, **tiles)
    return sums[0], sums[1]


def sum_synapses_backward(
    x: Tensor, edges: Edges, parameters: SynapseParameters, grads: tuple[Tensor, Tensor]
) -> tuple[Tensor, SynapseParameters]:
    """Compute the gradients of x and of the parameters from those of both sums."""
    programs = min(len(x), PROGRAMS)
    of_x, sums = x.new_zeros(x.shape), _allocate_sums(edges, x, programs)
    above = [grad.contiguous() for grad in grads]
    arguments = len(x), edges.receivers, edges.senders, x.contiguous(), _make_planes(edges, backward_terms(parameters))
    _launch("sum_synapses_backward", (programs,), x, *arguments, *above, of_x, sums, **_choose_tiles(edges, x.dtype))
    return of_x, _parameter_gradients(sums, edges, parameters)


def evolve(given: Evolution, save_residuals: bool) -> tuple[Tensor, Residuals]:
    """Compute the states over time, as :func:`remanence.ops.ltc.dense.evolve` does."""
    v = given.v
    batch, time, neurons = given.conductance.shape
    rows = time * given.sub_steps if save_residuals else 2
    residuals = Residuals(_allocate(v, batch, rows + 1, neurons), _allocate(v, batch, rows, neurons))
    states = _allocate(v, batch, time, neurons)
    _launch(
        "evolve_forward",
        (batch,),
        v,
        *(time, given.sub_steps, neurons, -1 if save_residuals else 1),
        *(v.contiguous(), given.conductance.contiguous(), given.current.contiguous()),
        *_list_shared_arguments(given, _make_planes(given.edges, forward_terms(given.parameters)), residuals),
        *(states, *_episodes(given)),
        **_choose_tiles(given.edges, v.dtype),
        RESETS=given.reset is not None,
    )
    return states, residuals


def evolve_backward(
    given: Evolution, residuals: Residuals, grads: tuple[Tensor, Tensor], states: Tensor | None
) -> Gradients:
    """Compute the gradients, as :func:`remanence.ops.ltc.dense.evolve_backward` does."""
    of_states, of_last = (grad.contiguous() for grad in grads)
    batch, time, neurons = of_states.shape
    edges, programs = given.edges, min(batch, PROGRAMS)
    of_v, of_moved = _allocate(of_last, batch, neurons), _allocate(of_last, batch, time)
    of_conductance, of_current = (_allocate(of_last, batch, time, neurons) for _ in range(2))
    of_capacitance, sums = of_last.new_zeros(programs, neurons), _allocate_sums(edges, of_last, programs)
    of_first = None if given.reset is None else torch.zeros_like(of_v)
    reset, _ = _episodes(given)
    _launch(
        "evolve_backward",
        (programs,),
        of_last,
        *(batch, time, given.sub_steps, neurons),
        *_list_shared_arguments(given, _make_planes(edges, backward_terms(given.parameters)), residuals),
        *(of_states, of_last, of_v, of_conductance, of_current, of_moved, of_capacitance),
        *(sums, _allocate(of_last, programs, 2, neurons)),
        *(reset, of_last if states is None else states, of_v if of_first is None else of_first),
        **_choose_tiles(edges, of_last.dtype),
        RESETS=given.reset is not None,
    )
    of_synapses = _parameter_gradients(sums, edges, given.parameters)
    return Gradients(of_v, of_conductance, of_current, of_moved, of_capacitance.sum(0), of_synapses, of_first)


def _episodes(given: Evolution) -> tuple[Tensor, Tensor]:
    """Return the reset and what it returns to; without a reset, tensors that are not read."""
    if given.reset is None or given.first is None:
        return given.v, given.v
    return given.reset.contiguous(), given.first.contiguous()


def _launch(name: str, grid: tuple[int, ...], like: Tensor, *arguments: Tensor | int, **tiles: Any) -> None:
    with torch.cuda.device_of(like):
        load_functions(TEXT, triton_support.is_interpreted())[name][grid](*arguments, **tiles, num_warps=4)


def _choose_tiles(edges: Edges, dtype: torch.dtype) -> dict[str, Any]:
    import triton

    rows, columns = (
        min(LARGEST_TILE, max(16, triton.next_power_of_2(count))) for count in (edges.receivers, edges.senders)
    )
    return {"ROWS": rows, "COLUMNS": columns, "REAL": getattr(triton.language, REAL[dtype])}


def _list_shared_arguments(given: Evolution, planes: Tensor, residuals: Residuals) -> list[Tensor | int]:
    """Return the arguments that the forward and the backward kernel share."""
    delta, capacitance = given.delta, given.capacitance
    steps = [0 if length == 1 else stride for length, stride in zip(delta.shape, delta.stride(), strict=True)]
    return [delta, *steps, capacitance.contiguous(), planes, *(value for x in residuals for value in (x, x.stride(0)))]


def _make_planes(edges: Edges, terms: Tensor) -> Tensor:
    """Arrange terms of synapses as [terms, receivers, senders], 0 where there is no synapse."""
    planes = terms.new_zeros(len(terms), edges.receivers, edges.senders)
    planes[:, edges.receiver, edges.sender] = terms
    return planes


def _parameter_gradients(sums: Tensor, edges: Edges, parameters: SynapseParameters) -> SynapseParameters:
    return parameter_gradients(sums.sum(0)[:, edges.receiver, edges.sender], parameters)


def _allocate_sums(edges: Edges, like: Tensor, programs: int) -> Tensor:
    return like.new_zeros(programs, 4, edges.receivers, edges.senders)


def _allocate(like: Tensor, *shape: int) -> Tensor:
    """Return an uninitialized tensor, all of which a kernel will write."""
    return like.new_empty(shape)
