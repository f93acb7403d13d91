"""Where a flip-flop can rest, and whether it stays there."""

from collections.abc import Callable
from math import nan
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from remanence.nn.flip_flop import Neuron

GRID, HALVINGS, TINY = 1001, 60, 1e-12
SAME = 1e-5  # equilibria nearer to each other than this are one


class Equilibria(NamedTuple):
    """The equilibria of every pair, in the order of q; where a pair has fewer than another, NaN fills up.

    Attributes:
        q: [equilibria, hidden_size].
        r: likewise.
        stable: whether both eigenvalues of the Jacobian of the differential equation have a negative real part.
    """

    q: Float[Tensor, "equilibria hidden"]
    r: Float[Tensor, "equilibria hidden"]
    stable: Bool[Tensor, "equilibria hidden"]


@torch.no_grad()
def equilibria(
    of_q: "Neuron", of_r: "Neuron", open_q: Float[Tensor, " hidden"], open_r: Float[Tensor, " hidden"]
) -> Equilibria:
    """All equilibria of isolated pairs under a constant input.

    For a given q there is one r that keeps q still, and it is known in closed form (:func:`_balance`). Along that curve
    the drift of r changes its sign at the equilibria: they are bracketed on a grid and bisected. Where the curve is too
    steep for the grid, the one for which q and r change places is flat, so both are searched. All is done in float64.

    Args:
        of_q: the parameters of q.
        of_r: those of r.
        open_q: how far the gate of the input is open, 0 to 1.
        open_r: likewise.
    """
    of_q, of_r = (type(n)(*(field.double() for field in n)) for n in (of_q, of_r))
    open_q, open_r = open_q.double(), open_r.double()
    # A neuron at rest is a mean of its potentials, so all equilibria lie between the lowest and the highest.
    potentials = torch.stack([p for neuron in (of_q, of_r) for p in _potentials(neuron)])
    bounds = potentials.amin(0), potentials.amax(0)
    q, r, pair = _search(of_q, of_r, open_q, open_r, *bounds)
    r_again, q_again, pair_again = _search(of_r, of_q, open_r, open_q, *bounds)
    q, r, pair = (torch.cat(both) for both in ((q, q_again), (r, r_again), (pair, pair_again)))
    return _table(q, r, _stable(_of(of_q, pair), _of(of_r, pair), open_q[pair], open_r[pair], q, r), pair, len(open_q))


def _search(
    first: "Neuron", second: "Neuron", open_first: Tensor, open_second: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Equilibria along the curve on which the first neuron is still: where both are, and of which pair."""
    steps = torch.linspace(0, 1, GRID, dtype=low.dtype, device=low.device)[:, None]
    # The curve jumps where the other's synapse has no effect: a root just beside must not share its cell.
    jump = first.mutual_current / first.mutual
    grid = torch.cat([low + steps * (high - low), torch.stack([jump - TINY, jump + TINY])]).sort(0).values

    def along(v: Tensor) -> tuple[Tensor, Tensor]:
        u = _balance(first, open_first, v).clamp(low, high)
        return u, drift(second, open_second, u, v)

    sign = along(grid)[1] > 0
    cell, pair = torch.nonzero(sign[:-1] != sign[1:], as_tuple=True)
    first, second = _of(first, pair), _of(second, pair)
    open_first, open_second, low, high = (x[pair] for x in (open_first, open_second, low, high))
    before = sign[cell, pair]
    left, right = _bisect(lambda v: (along(v)[1] > 0) == before, grid[cell, pair], grid[cell + 1, pair])
    # Where the curve is steep, the u of two neighbouring numbers v differ: go on between them.
    v, ends = left, (along(left)[0], along(right)[0])
    u, _ = _bisect(lambda u: (drift(second, open_second, u, v) > 0) == before, *ends)
    moves = drift(first, open_first, v, u).abs() / first.leak + drift(second, open_second, u, v).abs() / second.leak
    found = moves < SAME  # a jump of the curve is no equilibrium
    return v[found], u[found], pair[found]


def _bisect(as_left: Callable[[Tensor], Tensor], left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        same = as_left(middle)
        left, right = torch.where(same, middle, left), torch.where(same, right, middle)
    return left, right


def _of(neuron: "Neuron", pair: Tensor) -> "Neuron":
    return type(neuron)(*(field[pair] for field in neuron))


def drift(neuron: "Neuron", opened: Tensor, v: Tensor, u: Tensor) -> Tensor:
    """dv/dt of one neuron at v, when the other one is at u."""
    mutual = torch.sigmoid(neuron.mutual_slope * u + neuron.mutual_offset)
    return _without_the_other(neuron, opened, v) + mutual * (neuron.mutual_current - neuron.mutual * v)


def _without_the_other(neuron: "Neuron", opened: Tensor, v: Tensor) -> Tensor:
    own = torch.sigmoid(neuron.onto_itself_slope * v + neuron.onto_itself_offset)
    passive = neuron.leak_current + neuron.gate_current * opened - (neuron.leak + neuron.gate * opened) * v
    return passive + own * (neuron.onto_itself_current - neuron.onto_itself * v)


def _balance(neuron: "Neuron", opened: Tensor, v: Tensor) -> Tensor:
    """The u of the other neuron at which dv/dt = 0; infinite where no u can do it."""
    needed = -_without_the_other(neuron, opened, v) / (neuron.mutual_current - neuron.mutual * v)
    return (torch.logit(needed.clamp(0, 1)) - neuron.mutual_offset) / neuron.mutual_slope


def _potentials(neuron: "Neuron") -> tuple[Tensor, ...]:
    return (
        neuron.leak_current / neuron.leak,
        neuron.gate_current / neuron.gate,
        neuron.mutual_current / neuron.mutual,
        neuron.onto_itself_current / neuron.onto_itself,
    )


def _derivatives(neuron: "Neuron", opened: Tensor, v: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Of dv/dt, by v and by u."""
    mutual = torch.sigmoid(neuron.mutual_slope * u + neuron.mutual_offset)
    own = torch.sigmoid(neuron.onto_itself_slope * v + neuron.onto_itself_offset)
    conductance = neuron.leak + neuron.gate * opened + neuron.mutual * mutual + neuron.onto_itself * own
    to_own = neuron.onto_itself_current - neuron.onto_itself * v
    by_v = neuron.onto_itself_slope * own * (1 - own) * to_own - conductance
    by_u = neuron.mutual_slope * mutual * (1 - mutual) * (neuron.mutual_current - neuron.mutual * v)
    return by_v, by_u


def _stable(of_q: "Neuron", of_r: "Neuron", open_q: Tensor, open_r: Tensor, q: Tensor, r: Tensor) -> Tensor:
    (a, b), (d, c) = _derivatives(of_q, open_q, q, r), _derivatives(of_r, open_r, r, q)
    jacobian = torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)
    return torch.linalg.eigvals(jacobian).real.amax(-1) < 0


def _table(q: Tensor, r: Tensor, stable: Tensor, pair: Tensor, pairs: int) -> Equilibria:
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
