"""Whether nearby states part or meet."""

import math

from torch import Tensor

from remanence.analysis import lyapunov_exponents
from remanence.inspection.finding import Finding, finite_or_none, format_steps
from remanence.inspection.subject import Subject

COUNT = 4
GROWN = 10.0  # times from the first to the second half of the steps
LEVEL = 2e-3  # a step: what an estimate over so few steps cannot tell from 0


def measure(subject: Subject) -> Finding:
    """Measure the largest Lyapunov exponent along the driven trajectory."""
    x = subject.portion()
    found = lyapunov_exponents(subject.step, x, count=min(COUNT, subject.step.size), discard=min(32, x.shape[1] // 4))
    largest = float(found.exponents.mean(0).max())
    doubling = format_steps(math.log(2) / abs(largest)) if largest else ""
    if math.isinf(largest):
        sentence = "Two nearby states are the same after a step: nothing of the past is kept."
    elif abs(largest) < LEVEL:
        sentence = "Two nearby states stay about as far apart as they are: nothing fades, and nothing is amplified."
    elif largest < 0:
        sentence = f"Two nearby states get twice as close every {doubling}: differences fade at that pace."
    else:
        sentence = f"Two nearby states get twice as far apart every {doubling}: {_explain_growth(subject, x)}."
    figures = {"largest": finite_or_none(largest), "steps": x.shape[1]}
    return Finding(
        figures, f"{largest:+.2g} a step" if largest else "0 a step", sentence, lambda axes: found.plot(axes[0])
    )


def _explain_growth(subject: Subject, x: Tensor) -> str:
    _, states = subject.step.run(x)
    early, late = (part.norm(dim=-1).mean() for part in states.chunk(2, 1))
    return "the state grows without bound" if late > GROWN * early else "chaos, small differences take over"
