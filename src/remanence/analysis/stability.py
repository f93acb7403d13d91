"""What kind of equilibrium a fixed point is: what its linearisation says, and what a simulation says to that."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from remanence.analysis.step import Step

Kind = Literal[
    "uniformly stable",
    "convergent",
    "asymptotically stable",
    "globally asymptotically stable",
    "saddle",
    "unstable",
    "undecided",
]
DIRECTIONS = 32
RADII = (1.0, 0.1, 0.01)  # of the largest ball
LEFT = 10.0  # who gets so many radii away has left
MARGIN = 1e-6  # how near to 1 the modulus of an eigenvalue counts as 1


@dataclass(frozen=True)
class Verdict:
    """What kind a fixed point is.

    Attributes:
        kind: *uniformly stable*: who starts near stays near. *Convergent*: who starts near ends there. *Asymptotically
            stable*: both; *globally* so if whoever starts anywhere ends there. *Saddle*: some directions lead in, some
            out. *Unstable*: none of these. *Undecided*: neither linearisation nor simulation could tell.
        confirmed: whether the simulation agrees.
        reason: what was seen.
    """

    kind: Kind
    confirmed: bool
    reason: str

    @property
    def stable(self) -> bool:
        """Whether who starts near stays near."""
        return self.kind.endswith("stable") and self.kind != "unstable"


@dataclass(frozen=True, eq=False)
class Ball:
    """What became of starts on spheres around a point, each [radii, directions], in units of the radius."""

    farthest: Tensor
    last: Tensor


def judge(step: Step, x: Tensor, point: Tensor, eigenvalues: Tensor, radius: float, steps: int) -> Verdict:
    """Judge one fixed point.

    Args:
        step: the system.
        x: its constant input, [input].
        point: [size].
        eigenvalues: of the Jacobian there, the largest modulus first.
        radius: of the largest ball of starts.
        steps: of the simulation, at most.
    """
    largest = float(eigenvalues[0].abs())
    if not math.isfinite(largest):
        return Verdict("undecided", False, "the Jacobian is not finite")
    if abs(largest - 1) <= MARGIN:
        return _judge_by_simulation(_simulate_ball(step, x, point, radius, steps), radius, steps)
    # Three times what a factor of 1,000 takes along the slowest direction; and a state that is handed from one
    # component to the next, as in a shift register, passes through all of them first.
    needed = min(steps, 2 * len(point) + math.ceil(3 * math.log(1e3) / abs(math.log(max(largest, 1e-3)))))
    seen = _simulate_ball(step, x, point, radius, needed)
    if largest < 1:
        return _judge_stable(seen, radius, needed, largest)
    return _judge_unstable(seen, eigenvalues, radius, needed)


def _judge_stable(seen: Ball, radius: float, steps: int, largest: float) -> Verdict:
    said = f"largest |λ| {largest:.6g}"
    for index, share in enumerate(RADII):
        if bool((seen.last[index] < 0.1).all()):
            reason = f"{said}; all {DIRECTIONS} starts {share * radius:g} away came back within {steps} steps"
            return Verdict("asymptotically stable", True, reason)
    return Verdict("asymptotically stable", False, f"{said}; not all starts came back within {steps} steps")


def _judge_unstable(seen: Ball, eigenvalues: Tensor, radius: float, steps: int) -> Verdict:
    out, into = ((eigenvalues.abs() > 1 + MARGIN).sum(), (eigenvalues.abs() < 1 - MARGIN).sum())
    kind: Kind = "saddle" if into else "unstable"
    said = f"{out} of {len(eigenvalues)} eigenvalues outside the unit circle"
    gone = bool((seen.farthest[-1] > LEFT).any())
    what = f"starts {RADII[-1] * radius:g} away left" if gone else f"no start left within {steps} steps"
    return Verdict(kind, gone, f"{said}; {what}")


def _judge_by_simulation(seen: Ball, radius: float, steps: int) -> Verdict:
    """Judge by simulation alone, where the largest modulus is 1 and the linearisation decides nothing."""
    stays = bool((seen.farthest < LEFT).all())
    comes_back = bool((seen.last < 0.5).all(1).any())
    leaves = bool((seen.farthest[-1] > LEFT).any())
    said = f"largest |λ| is 1, so that only the simulation of {steps} steps speaks: starts up to {radius:g} away "
    if stays and comes_back:
        return Verdict("asymptotically stable", True, said + "stayed near and came back")
    if stays:
        return Verdict("uniformly stable", True, said + "stayed near and did not come back")
    if comes_back:
        return Verdict("convergent", True, said + "went far away and came back")
    if leaves:
        return Verdict("unstable", True, said + "left")
    return Verdict("undecided", False, said + "left from afar, but not from near by")


@torch.no_grad()
def _simulate_ball(step: Step, x: Tensor, point: Tensor, radius: float, steps: int) -> Ball:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(DIRECTIONS, len(point), generator=generator, dtype=torch.float64).to(point)
    directions = drawn / drawn.norm(dim=-1, keepdim=True)
    radii = radius * torch.tensor(RADII).to(point)
    h = (point + radii[:, None, None] * directions).flatten(0, 1)
    inputs, scale = x.expand(len(h), -1), radii.repeat_interleave(DIRECTIONS)
    farthest = distance = torch.ones_like(scale)
    for _ in range(steps):
        h = step(inputs, h)
        distance = (h - point).norm(dim=-1).nan_to_num(torch.inf) / scale
        farthest = torch.maximum(farthest, distance)
    shape = (len(RADII), DIRECTIONS)
    return Ball(farthest.view(shape), distance.view(shape))
