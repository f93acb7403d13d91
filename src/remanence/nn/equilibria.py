"""Equilibria of flip-flops and their stability."""

from collections.abc import Callable
from math import nan
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from remanence.nn.flip_flop_step import Neuron

Fields = TypeVar("Fields", bound=Any)

GRID, HALVINGS, TINY = 1001, 60, 1e-12
SAME = 1e-5  # equilibria closer to each other than this are one and the same


class Outside(NamedTuple):
    """The effect of a constant input on one neuron of every pair.

    Attributes:
        rate: conductance / C, [hidden_size].
        current: rate · potential, [hidden_size].
    """

    rate: Float[Tensor, " hidden"]
    current: Float[Tensor, " hidden"]


class Equilibria(NamedTuple):
    """The equilibria of every pair, in ascending order of q, padded with NaN for pairs that have fewer.

    Attributes:
        q: state of q at each equilibrium, [equilibria, hidden_size].
        r: state of r at each equilibrium, [equilibria, hidden_size].
        stable: whether both eigenvalues of the Jacobian of the differential equation have a negative real part,
            [equilibria, hidden_size].
    """

    q: Float[Tensor, "equilibria hidden"]
    r: Float[Tensor, "equilibria hidden"]
    stable: Bool[Tensor, "equilibria hidden"]


@torch.no_grad()
def find_equilibria(of_q: Neuron, of_r: Neuron, outside_q: Outside, outside_r: Outside) -> Equilibria:
    """Find all equilibria of isolated pairs under a constant input.

    For a given q there is one r at which dq/dt = 0, known in closed form (:func:`_find_balance`). Along that curve, the
    drift of r changes sign at the equilibria, which are bracketed on a grid and bisected. Where the curve is too steep
    for the grid, the corresponding curve with q and r exchanged is flat, so both curves are searched. All computations
    are in float64.

    Args:
        of_q: parameters of q.
        of_r: parameters of r.
        outside_q: effect of the input on q.
        outside_r: effect of the input on r.
    """
    of_q, of_r = (type(n)(*(field.double() for field in n)) for n in (of_q, of_r))
    outside_q, outside_r = (Outside(*(field.double() for field in o)) for o in (outside_q, outside_r))
    # At rest, the state of a neuron is a weighted mean of its potentials, so equilibria lie between their extremes.
    both = (of_q, outside_q), (of_r, outside_r)
    potentials = torch.stack([p for neuron, outside in both for p in _compute_potentials(neuron, outside)])
    bounds = potentials.amin(0), potentials.amax(0)
    q, r, pair = _search(of_q, of_r, outside_q, outside_r, *bounds)
    r_again, q_again, pair_again = _search(of_r, of_q, outside_r, outside_q, *bounds)
    q, r, pair = (torch.cat(both) for both in ((q, q_again), (r, r_again), (pair, pair_again)))
    stable = _is_stable(
        _select(of_q, pair), _select(of_r, pair), _select(outside_q, pair), _select(outside_r, pair), q, r
    )
    return _tabulate(q, r, stable, pair, len(of_q.leak))


def _search(
    first: Neuron, second: Neuron, to_first: Outside, to_second: Outside, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Search the curve on which the first neuron is at rest; return both potentials and the index of the pair."""
    steps = torch.linspace(0, 1, GRID, dtype=low.dtype, device=low.device)[:, None]
    # The curve jumps where the other neuron's synapse has no effect: a root next to the jump needs a cell of its own.
    jump = first.mutual_current / first.mutual
    grid = torch.cat([low + steps * (high - low), torch.stack([jump - TINY, jump + TINY])]).sort(0).values

    def along(v: Tensor) -> tuple[Tensor, Tensor]:
        u = _find_balance(first, to_first, v).clamp(low, high)
        return u, compute_drift(second, to_second, u, v)

    sign = along(grid)[1] > 0
    cell, pair = torch.nonzero(sign[:-1] != sign[1:], as_tuple=True)
    first, second = _select(first, pair), _select(second, pair)
    to_first, to_second = _select(to_first, pair), _select(to_second, pair)
    low, high = low[pair], high[pair]
    before = sign[cell, pair]
    left, right = _bisect(lambda v: (along(v)[1] > 0) == before, grid[cell, pair], grid[cell + 1, pair])
    # Where the curve is steep, u differs between two neighbouring floating-point numbers v: bisect between the two u.
    v, ends = left, (along(left)[0], along(right)[0])
    u, _ = _bisect(lambda u: (compute_drift(second, to_second, u, v) > 0) == before, *ends)
    moves = (
        compute_drift(first, to_first, v, u).abs() / first.leak
        + compute_drift(second, to_second, u, v).abs() / second.leak
    )
    found = moves < SAME  # a jump of the curve is not an equilibrium
    return v[found], u[found], pair[found]


def _bisect(as_left: Callable[[Tensor], Tensor], left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        same = as_left(middle)
        left, right = torch.where(same, middle, left), torch.where(same, right, middle)
    return left, right


def _select(fields: Fields, pair: Tensor) -> Fields:
    """Select pairs from a named tuple of tensors."""
    return type(fields)(*(field[pair] for field in fields))


def compute_drift(neuron: Neuron, outside: Outside, v: Tensor, u: Tensor) -> Tensor:
    """Compute dv/dt of a neuron at v while the other neuron of its pair is at u."""
    mutual = torch.sigmoid(neuron.mutual_slope * u + neuron.mutual_offset)
    return _compute_own_drift(neuron, outside, v) + mutual * (neuron.mutual_current - neuron.mutual * v)


def _compute_own_drift(neuron: Neuron, outside: Outside, v: Tensor) -> Tensor:
    own = torch.sigmoid(neuron.onto_itself_slope * v + neuron.onto_itself_offset)
    passive = neuron.leak_current + outside.current - (neuron.leak + outside.rate) * v
    return passive + own * (neuron.onto_itself_current - neuron.onto_itself * v)


def _find_balance(neuron: Neuron, outside: Outside, v: Tensor) -> Tensor:
    """Find the u of the other neuron at which dv/dt = 0; infinite where none exists."""
    needed = -_compute_own_drift(neuron, outside, v) / (neuron.mutual_current - neuron.mutual * v)
    return (torch.logit(needed.clamp(0, 1)) - neuron.mutual_offset) / neuron.mutual_slope


def _compute_potentials(neuron: Neuron, outside: Outside) -> tuple[Tensor, ...]:
    at_rest = neuron.leak_current / neuron.leak
    return (
        at_rest,
        torch.where(outside.rate > 0, outside.current / outside.rate, at_rest),
        neuron.mutual_current / neuron.mutual,
        neuron.onto_itself_current / neuron.onto_itself,
    )


def _compute_derivatives(neuron: Neuron, outside: Outside, v: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate dv/dt with respect to v and u."""
    mutual = torch.sigmoid(neuron.mutual_slope * u + neuron.mutual_offset)
    own = torch.sigmoid(neuron.onto_itself_slope * v + neuron.onto_itself_offset)
    conductance = neuron.leak + outside.rate + neuron.mutual * mutual + neuron.onto_itself * own
    to_own = neuron.onto_itself_current - neuron.onto_itself * v
    by_v = neuron.onto_itself_slope * own * (1 - own) * to_own - conductance
    by_u = neuron.mutual_slope * mutual * (1 - mutual) * (neuron.mutual_current - neuron.mutual * v)
    return by_v, by_u


def _is_stable(of_q: Neuron, of_r: Neuron, to_q: Outside, to_r: Outside, q: Tensor, r: Tensor) -> Tensor:
    (a, b), (d, c) = _compute_derivatives(of_q, to_q, q, r), _compute_derivatives(of_r, to_r, r, q)
    jacobian = torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)
    return torch.linalg.eigvals(jacobian).real.amax(-1) < 0


def _tabulate(q: Tensor, r: Tensor, stable: Tensor, pair: Tensor, pairs: int) -> Equilibria:
    columns = []
    for index in range(pairs):
        mine = torch.nonzero(pair == index)[:, 0]
        mine = mine[torch.argsort(q[mine])]
        points = torch.stack([q[mine], r[mine]], -1)
        mine = mine[~(torch.cdist(points, points) < SAME).tril(-1).any(1)]
        columns.append((q[mine], r[mine], stable[mine]))
    q, r, stable = (
        pad_sequence(list(column), padding_value=fill)
        for column, fill in zip(zip(*columns, strict=True), (nan, nan, 0), strict=True)
    )
    return Equilibria(q, r, stable)
