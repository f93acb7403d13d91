"""How far back the gradient reaches."""

import math

import torch

from remanence.analysis import gradient_flow
from remanence.inspection.finding import Finding, finite_or_none, format_steps
from remanence.inspection.subject import LARGEST, Subject

SHARE, FACTOR = 0.01, 100.0


def measure(subject: Subject) -> Finding:
    """Measure after how many steps back less than 1% of a gradient is left, or it has grown a hundredfold."""
    bound = subject.step.size <= LARGEST
    x = subject.portion() if bound else subject.x[:1]
    direction = torch.randn(subject.step.size, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    flow = gradient_flow(subject.step, x, lambda y, states: states[:, -1] @ direction, bound=bound)
    horizon, explodes = float(flow.horizon(SHARE)), float(flow.explodes(FACTOR))
    steps = x.shape[1]
    if explodes < horizon:
        short = f"explodes after {explodes:.0f}"
        sentence = f"A gradient is {FACTOR:.0f} times larger {format_steps(explodes)} back: it explodes, so clip it."
    elif math.isfinite(horizon):
        short = format_steps(horizon)
        sentence = f"{short} back less than 1% of a gradient is left: what came before hardly teaches anything."
    else:
        short = f"> {steps} steps"
        sentence = f"More than 1% of a gradient is left {steps} steps back, as far as was measured."
    figures = {"horizon": finite_or_none(horizon), "explodes": finite_or_none(explodes), "steps": steps}
    return Finding(figures, short, sentence, lambda axes: flow.plot(axes[0]))
