"""Where a flip-flop can rest, and whether it stays there."""

from math import nan
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from remanence.nn.flip_flop import Neuron

GRID, HALVINGS, NEWTON_STEPS = 2001, 60, 30
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
    the drift of r changes its sign at the equilibria; they are bracketed on a grid, bisected, and refined by Newton's
    method in both variables. All is done in float64.

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
    low, high = potentials.amin(0), potentials.amax(0)

    def along(q: Tensor) -> tuple[Tensor, Tensor]:
        r = _balance(of_q, open_q, q).clamp(low, high)
        return r, drift(of_r, open_r, r, q)

    steps = torch.linspace(0, 1, GRID, dtype=low.dtype, device=low.device)[:, None]
    grid = low + steps * (high - low)
    sign = along(grid)[1] > 0
    cell, pair = torch.nonzero(sign[:-1] != sign[1:], as_tuple=True)
    of_q, of_r = (type(n)(*(field[pair] for field in n)) for n in (of_q, of_r))
    open_q, open_r, low, high = (x[pair] for x in (open_q, open_r, low, high))
    left, right, before = grid[cell, pair], grid[cell + 1, pair], sign[cell, pair]
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        same = (along(middle)[1] > 0) == before
        left, right = torch.where(same, middle, left), torch.where(same, right, middle)
    q, r = left, along(left)[0]
    for _ in range(NEWTON_STEPS):
        step = _newton_step(of_q, of_r, open_q, open_r, q, r)
        q, r = (torch.clamp(v + d, low, high) for v, d in zip((q, r), step, strict=True))
    # What is left is a jump of the curve, not an equilibrium, if q or r still drifts.
    moves = drift(of_q, open_q, q, r).abs() / of_q.leak + drift(of_r, open_r, r, q).abs() / of_r.leak
    return _table(q, r, _stable(of_q, of_r, open_q, open_r, q, r), moves < SAME, pair, len(sign[0]))


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


def _newton_step(
    of_q: "Neuron", of_r: "Neuron", open_q: Tensor, open_r: Tensor, q: Tensor, r: Tensor
) -> tuple[Tensor, Tensor]:
    (a, b), (d, c) = _derivatives(of_q, open_q, q, r), _derivatives(of_r, open_r, r, q)
    move_q, move_r = drift(of_q, open_q, q, r), drift(of_r, open_r, r, q)
    determinant = a * d - b * c
    return (b * move_r - d * move_q) / determinant, (c * move_q - a * move_r) / determinant


def _stable(of_q: "Neuron", of_r: "Neuron", open_q: Tensor, open_r: Tensor, q: Tensor, r: Tensor) -> Tensor:
    (a, b), (d, c) = _derivatives(of_q, open_q, q, r), _derivatives(of_r, open_r, r, q)
    jacobian = torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)
    return torch.linalg.eigvals(jacobian).real.amax(-1) < 0


def _table(q: Tensor, r: Tensor, stable: Tensor, found: Tensor, pair: Tensor, pairs: int) -> Equilibria:
    columns = []
    for index in range(pairs):
        mine = torch.nonzero(found & (pair == index))[:, 0]
        mine = mine[torch.argsort(q[mine])]
        new = q[mine].diff(prepend=-q.new_tensor([torch.inf])) + r[mine].diff(prepend=q.new_zeros(1)).abs() > SAME
        columns.append((q[mine][new], r[mine][new], stable[mine][new]))
    q, r, stable = (
        pad_sequence(list(column), padding_value=fill)
        for column, fill in zip(zip(*columns, strict=True), (nan, nan, 0), strict=True)
    )
    return Equilibria(q, r, stable)
