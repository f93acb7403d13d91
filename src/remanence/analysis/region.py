"""Regions of the state space, and samples from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.step import Step
from remanence.errors import UserError
from remanence.nn.hopfield import Hopfield

Region = Float[Tensor, "states size"] | Sequence[tuple[float, float]] | float


@dataclass(frozen=True, eq=False)
class Samples:
    """States in a region, states on its border, and a function that tells which states are outside."""

    states: Float[Tensor, "states size"]
    border: Float[Tensor, "border size"]
    outside: Callable[[Tensor], Tensor]


def sample_region(region: Region, point: Tensor | None, step: Step, count: int) -> Samples:
    """Draw samples from a region: a box, a ball around the point, or given states, which have no border."""
    like, generator = step.initial_state(), torch.Generator().manual_seed(0)
    if isinstance(region, Tensor):
        if region.ndim != 2 or region.shape[1] != step.size:
            raise UserError(f"expected a region of states [states, {step.size}], got {list(region.shape)}")
        return Samples(region.to(like), like[:0], lambda h: torch.zeros_like(h[:, 0], dtype=torch.bool))
    if isinstance(region, int | float):
        if point is None:
            raise UserError("a region given as a radius needs point: pass the centre of the ball")
        return _sample_ball(region, point, count, generator)
    if len(region) != step.size:
        raise UserError(f"expected a (lowest, highest) for each of {step.size} state components, got {len(region)}")
    return _sample_box(torch.tensor(region, dtype=like.dtype, device=like.device), count, generator)


def _sample_ball(radius: float, point: Tensor, count: int, generator: torch.Generator) -> Samples:
    size = len(point)
    drawn = torch.randn(count, size, generator=generator, dtype=torch.float64)
    directions = radius * drawn / drawn.norm(dim=1, keepdim=True)
    lengths = torch.rand(count, 1, generator=generator, dtype=torch.float64) ** (1 / size)
    border = point + directions.to(point)
    return Samples(point + (lengths * directions).to(point), border, lambda h: (h - point).norm(dim=1) > radius)


def _sample_box(region: Tensor, count: int, generator: torch.Generator) -> Samples:
    low, high = region.unbind(1)
    size = len(low)
    drawn = torch.rand(count, size, generator=generator, dtype=torch.float64)
    faces, row = drawn.clone(), torch.arange(count)
    faces[row, row // 2 % size] = (row % 2).double()
    states, border = (low + each.to(low) * (high - low) for each in (drawn, faces))
    return Samples(states, border, lambda h: ((h < low) | (h > high)).any(1))


def draw_corners(memory: Hopfield, count: int) -> Tensor:
    """Draw random states of -1 and 1."""
    drawn = torch.randint(2, (count, memory.size), generator=torch.Generator().manual_seed(0))
    return (2 * drawn - 1).to(memory.weight)
