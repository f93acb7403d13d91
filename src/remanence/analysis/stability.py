"""Classification of fixed points by their linearisation, confirmed by simulation."""

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
RADII = (1.0, 0.1, 0.01)  # radii of the balls, relative to the largest
LEFT = 10.0  # a state at a distance of more radii than this has left the ball
MARGIN = 1e-6  # moduli of eigenvalues closer to 1 than this count as 1


@dataclass(frozen=True)
class Verdict:
    """The kind of a fixed point.

    Attributes:
        kind: *uniformly stable*: trajectories that start nearby stay nearby. *Convergent*: trajectories that start
            nearby converge to the point. *Asymptotically stable*: both; *globally* so if all trajectories converge to
            it. *Saddle*: attracting in some directions, repelling in others. *Unstable*: none of these. *Undecided*:
            neither linearisation nor simulation could tell.
        confirmed: whether the simulation agrees with the linearisation.
        reason: the evidence, in words.
    """

    kind: Kind
    confirmed: bool
    reason: str

    @property
    def stable(self) -> bool:
        """Whether trajectories that start nearby stay nearby."""
        return self.kind.endswith("stable") and self.kind != "unstable"


@dataclass(frozen=True, eq=False)
class Ball:
    """Results of simulations from spheres around a point, each [radii, directions], in units of the radius."""

    farthest: Tensor
    last: Tensor


def judge(step: Step, x: Tensor, point: Tensor, eigenvalues: Tensor, radius: float, steps: int) -> Verdict:
    """Classify one fixed point.

    Args:
        step: the system.
        x: the constant input, [input].
        point: the fixed point, [size].
        eigenvalues: eigenvalues of the Jacobian at the point, the largest modulus first.
        radius: radius of the largest ball of initial states.
        steps: maximum number of simulated steps.
    """
    largest = float(eigenvalues[0].abs())
    if not math.isfinite(largest):
        return Verdict("undecided", False, "the Jacobian is not finite")
    if abs(largest - 1) <= MARGIN:
        return _judge_by_simulation(_simulate_ball(step, x, point, radius, steps), radius, steps)
    # Three times the steps for a decay by 1,000 along the slowest direction; plus the number of components, because in
    # a shift register the state passes through all of them first.
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
    """Classify by simulation alone, because the largest modulus is 1 and the linearisation is inconclusive."""
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
