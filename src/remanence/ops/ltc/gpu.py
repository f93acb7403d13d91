"""Sums over synapses, and neurons over time, on a GPU."""

from typing import Any

import torch
from torch import Tensor

from remanence._kernels import triton_place
from remanence._kernels.source_text import load_functions
from remanence.ops.ltc.edges import Edges, Strengths
from remanence.ops.ltc.evolution import Evolution, Gradients, Kept
from remanence.ops.ltc.terms import backward_terms, forward_terms, gradients
from remanence.ops.ltc.triton_source import TEXT

REAL = {torch.float32: "float32", torch.float64: "float64"}
LARGEST_TILE = 64
PROGRAMS = 512
"""How many programs the way back has at most: each adds up gradients in memory of its own."""


def refuses(like: Tensor) -> str | None:
    """Why Triton cannot run on tensors like this, or None."""
    return triton_place.refuses(like, REAL)


def arriving(x: Tensor, edges: Edges, strengths: Strengths) -> tuple[Tensor, Tensor]:
    """Σ conductance and Σ conductance · E, [samples, receivers], from x [samples, senders]."""
    sums = [_empty(x, len(x), edges.receivers) for _ in range(2)]
    tiles = _tiles(edges, x.dtype)
    planes = _planes(edges, forward_terms(strengths))
    grid = len(x), -(-edges.receivers // tiles["ROWS"])
    _launch("arriving_forward", grid, x, edges.receivers, edges.senders, x.contiguous(), planes, *sums, **tiles)
    return sums[0], sums[1]


def arriving_backward(
    x: Tensor, edges: Edges, strengths: Strengths, grads: tuple[Tensor, Tensor]
) -> tuple[Tensor, Strengths]:
    """Gradients of x and of the synapses, from those of both sums."""
    programs = min(len(x), PROGRAMS)
    of_x, sums = x.new_zeros(x.shape), _sums(edges, x, programs)
    above = [grad.contiguous() for grad in grads]
    arguments = len(x), edges.receivers, edges.senders, x.contiguous(), _planes(edges, backward_terms(strengths))
    _launch("arriving_backward", (programs,), x, *arguments, *above, of_x, sums, **_tiles(edges, x.dtype))
    return of_x, _of_synapses(sums, edges, strengths)


def evolve(given: Evolution, keep: bool) -> tuple[Tensor, Kept]:
    """States over time, as :func:`remanence.ops.ltc.dense.evolve` gives them."""
    v = given.v
    batch, time, neurons = given.conductance.shape
    rows = time * given.sub_steps if keep else 2
    kept = Kept(_empty(v, batch, rows + 1, neurons), _empty(v, batch, rows, neurons))
    states = _empty(v, batch, time, neurons)
    _launch(
        "evolve_forward",
        (batch,),
        v,
        *(time, given.sub_steps, neurons, -1 if keep else 1),
        *(v.contiguous(), given.conductance.contiguous(), given.current.contiguous()),
        *_outside(given, _planes(given.edges, forward_terms(given.strengths)), kept),
        states,
        **_tiles(given.edges, v.dtype),
    )
    return states, kept


def evolve_backward(given: Evolution, kept: Kept, grads: tuple[Tensor, Tensor]) -> Gradients:
    """Gradients as :func:`remanence.ops.ltc.dense.evolve_backward` gives them."""
    of_states, of_last = (grad.contiguous() for grad in grads)
    batch, time, neurons = of_states.shape
    edges, programs = given.edges, min(batch, PROGRAMS)
    of_v, of_moved = _empty(of_last, batch, neurons), _empty(of_last, batch, time)
    of_conductance, of_current = (_empty(of_last, batch, time, neurons) for _ in range(2))
    of_capacitance, sums = of_last.new_zeros(programs, neurons), _sums(edges, of_last, programs)
    _launch(
        "evolve_backward",
        (programs,),
        of_last,
        *(batch, time, given.sub_steps, neurons),
        *_outside(given, _planes(edges, backward_terms(given.strengths)), kept),
        *(of_states, of_last, of_v, of_conductance, of_current, of_moved, of_capacitance),
        *(sums, _empty(of_last, programs, 2, neurons)),
        **_tiles(edges, of_last.dtype),
    )
    of_synapses = _of_synapses(sums, edges, given.strengths)
    return Gradients(of_v, of_conductance, of_current, of_moved, of_capacitance.sum(0), of_synapses)


def _launch(name: str, grid: tuple[int, ...], like: Tensor, *arguments: Tensor | int, **tiles: Any) -> None:
    with torch.cuda.device_of(like):
        load_functions(TEXT, triton_place.is_interpreted())[name][grid](*arguments, **tiles, num_warps=4)


def _tiles(edges: Edges, dtype: torch.dtype) -> dict[str, Any]:
    import triton

    rows, columns = (
        min(LARGEST_TILE, max(16, triton.next_power_of_2(count))) for count in (edges.receivers, edges.senders)
    )
    return {"ROWS": rows, "COLUMNS": columns, "REAL": getattr(triton.language, REAL[dtype])}


def _outside(given: Evolution, planes: Tensor, kept: Kept) -> list[Tensor | int]:
    """The arguments that both ways have in common."""
    delta, capacitance = given.delta, given.capacitance
    steps = [0 if length == 1 else stride for length, stride in zip(delta.shape, delta.stride(), strict=True)]
    return [delta, *steps, capacitance.contiguous(), planes, *(value for x in kept for value in (x, x.stride(0)))]


def _planes(edges: Edges, terms: Tensor) -> Tensor:
    """Terms of synapses as [terms, receivers, senders], 0 where there is no synapse."""
    planes = terms.new_zeros(len(terms), edges.receivers, edges.senders)
    planes[:, edges.receiver, edges.sender] = terms
    return planes


def _of_synapses(sums: Tensor, edges: Edges, strengths: Strengths) -> Strengths:
    return gradients(sums.sum(0)[:, edges.receiver, edges.sender], strengths)


def _sums(edges: Edges, like: Tensor, programs: int) -> Tensor:
    return like.new_zeros(programs, 4, edges.receivers, edges.senders)


def _empty(like: Tensor, *shape: int) -> Tensor:
    """Memory for a kernel to write, all of it."""
    return like.new_empty(shape)
