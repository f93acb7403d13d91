"""Learn online from an endless stream: exact gradients across pieces that are far shorter than what must be remembered.

Every 60 steps a value is marked, and 30 to 59 steps later it is asked for. The stream is run in pieces of 10 steps, so
that no piece has both. The truncated gradient (``state.detach()`` between pieces) never sees that it would have helped
to open the gate at the mark; the derivatives that ``scan_online`` carries do.
"""

import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import remanence

PIECE, PERIOD, STREAMS, UNITS = 10, 60, 32, 16


def step(state: tuple[Tensor], inputs: tuple[Tensor, Tensor], params: tuple[Tensor, Tensor]) -> tuple[Tensor]:
    """h <- (1 - z) h + z x, with a gate z that sees the input only."""
    (h,), (gate, x), (gate_bias, bias) = state, inputs, params
    z = torch.sigmoid(gate + gate_bias)
    return ((1 - z) * h + z * (x + bias),)


def draw_pieces() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield values and marks [streams, steps, 2], the marked value, and where it is asked for, [streams, steps]."""
    while True:
        value, asked = 2 * torch.rand(STREAMS, PERIOD) - 1, torch.zeros(STREAMS, PERIOD)
        asked[torch.arange(STREAMS), torch.randint(PERIOD // 2, PERIOD, (STREAMS,))] = 1
        mark = (torch.arange(PERIOD) == 0).float().expand(STREAMS, -1)
        whole = torch.stack([value, mark], -1), value[:, :1].expand(-1, PERIOD), asked
        yield from zip(*(each.split(PIECE, 1) for each in whole), strict=True)


def learn(pieces: int, truncate: bool) -> list[float]:
    """Learn from so many pieces; return the squared error where the value is asked for. That of a guess is 1/3."""
    weight, readout = nn.Parameter(0.5 * torch.randn(2 * UNITS, 2)), nn.Linear(UNITS, 1)
    gate_bias, bias = nn.Parameter(torch.full((UNITS,), -4.0)), nn.Parameter(torch.zeros(UNITS))
    optimizer = torch.optim.Adam([weight, gate_bias, bias, *readout.parameters()], 3e-3)
    state, errors = [torch.zeros(STREAMS, UNITS)], []
    for _, (features, target, asked) in zip(range(pieces), draw_pieces(), strict=False):
        (h,), after = remanence.scan_online(step, features, weight, state, [gate_bias, bias])
        state = after.state if truncate else after
        if asked.any():
            error = (asked * (readout(h)[..., 0] - target).square()).sum() / asked.sum()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            errors.append(error.item())
    return errors


if __name__ == "__main__":
    torch.set_num_threads(1)  # the network is small
    pieces = int(sys.argv[1]) // PIECE if len(sys.argv) > 1 else 100_000
    for name, truncate in (("carried derivatives", False), ("truncated", True)):
        torch.manual_seed(0)
        errors = learn(pieces, truncate)
        last = errors[-max(1, len(errors) // 10) :]
        print(f"{name}: {PIECE * pieces:,} steps, mean squared error of the last tenth {sum(last) / len(last):.4f}")
