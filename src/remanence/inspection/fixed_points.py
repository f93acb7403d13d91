"""Where the state rests."""

from collections import Counter

import torch

from remanence.analysis import fixed_points
from remanence.errors import UserError
from remanence.inspection.finding import Finding
from remanence.inspection.subject import LARGEST, Subject

FEW, MANY = 12, 128  # starts of the search: for a large state, and for a small one
ITERATIONS, STEPS = 30, 300


def measure(subject: Subject) -> Finding:
    """Search for fixed points under the mean input, starting from states that the driven memory visits."""
    step = subject.step
    if step.size > LARGEST:
        raise UserError(f"the state has {step.size:,} numbers, and its Jacobians would take too long")
    _, states = step.run(subject.x)
    visited = states.flatten(0, 1)
    tried = min(max(2048 // step.size, FEW), MANY)
    starts = visited[torch.randperm(len(visited), generator=torch.Generator().manual_seed(0))[:tried]]
    spread = float(visited.std(0).norm())
    found = fixed_points(
        step, subject.x.mean((0, 1)), starts=starts, radius=max(0.01 * spread, 1e-3), steps=STEPS, iterations=ITERATIONS
    )
    kinds = Counter(each.kind for each in found.verdicts)
    listed = [f"{count} {kind}" for kind, count in kinds.most_common()]
    figures = {"count": len(found.points), "kinds": [each.kind for each in found.verdicts], "lost": found.lost}
    if not listed:
        sentence = f"With its mean input held, none of {tried} searches found a place where the state rests."
        return Finding(figures, "none found", sentence)
    attracting = len(found.attractors)
    sentence = (
        f"With its mean input held, the state can rest in {_format_places(len(found.points))} ({', '.join(listed)})"
    )
    sentence += _explain_attractors(attracting, len(found.points))
    if found.lost:
        sentence += f" {found.lost} of {tried} searches found none."
    return Finding(figures, ", ".join(listed), sentence, lambda axes: found.plot(axes[0]))


def _format_places(count: int) -> str:
    return "1 place" if count == 1 else f"{count} places"


def _explain_attractors(attracting: int, count: int) -> str:
    if attracting == 0:
        return "; it is drawn to none, so it moves on." if count > 1 else "; it is not drawn there, so it moves on."
    if attracting == 1:
        return "; one of them draws it in." if count > 1 else "; it is drawn there, whatever it held before."
    return f"; {attracting} of them draw it in, so which one it is in is remembered."
