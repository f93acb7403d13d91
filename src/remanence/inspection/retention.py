"""How long the state shows what came in."""

import math
import warnings

from remanence._torch import pytree
from remanence.analysis import Step, retention
from remanence.extras import require_extra
from remanence.inspection.finding import Finding, finite_or_none, format_steps
from remanence.inspection.subject import LARGEST, Subject

DELAYS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
NOISE = 0.1  # of the spread of the inputs


def measure(subject: Subject) -> Finding:
    """Measure the half-life of an input that is followed by others, as a linear probe reads it from the state."""
    with require_extra("analysis", "the report card"):
        from sklearn.exceptions import ConvergenceWarning

    seen = _count_readable(subject.step)
    symbols = subject.symbols()
    noise = NOISE * float(symbols.std(0).square().mean().sqrt())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        curve = retention(
            subject.step,
            symbols,
            DELAYS,
            samples=400 if seen == subject.step.size else 100,
            trials=3,
            washout=min(20, subject.length // 2),
            distractors=True,
            noise=noise,
            read=lambda h: h[:, :seen],
        )
    unsettled = sum(issubclass(each.category, ConvergenceWarning) for each in caught)
    first, half_life, chance = float(curve.mean[0]), curve.half_life, curve.chance
    where = "" if seen == subject.step.size else f" of {seen} of {subject.step.size:,} numbers of the state"
    asked = f"Of {len(symbols)} inputs, a linear probe{where} names the one that just came in {first:.0%} of cases"
    if math.isnan(half_life) or first <= 1.5 * chance:
        short, sentence = "none", f"{asked}, about chance ({chance:.0%}): the state does not show what came in."
        half_life = math.nan
    elif math.isfinite(half_life):
        short = format_steps(half_life)
        sentence = f"{asked}; half of what it knows above chance ({chance:.0%}) is gone {short} later."
    else:
        short = f"> {DELAYS[-1]} steps"
        sentence = f"{asked}, and {DELAYS[-1]} steps later it still knows more than half of that."
    if unsettled:
        sentence += f" In {unsettled} of {curve.values.numel()} fits the probe did not settle."
    figures = {
        "half_life": finite_or_none(half_life),
        "first": first,
        "chance": chance,
        "longest": DELAYS[-1],
        "read": seen,
    }
    return Finding(figures, short, sentence, lambda axes: curve.plot(axes[0]))


def _count_readable(step: Step) -> int:
    """Return how many numbers of the state the probe reads: of a large state, only its first tensor.

    From a few hundred samples, no probe can learn which of so many numbers matter.
    """
    first = pytree.tree_leaves(step.initial)[0]
    return step.size if step.size <= LARGEST else first.numel()
