"""Whether errors of the state are corrected, while what it stores is kept."""

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis import Step, error_correction
from remanence.errors import UserError
from remanence.inspection.finding import Finding, finite_or_none, format_steps
from remanence.inspection.subject import Subject

ROWS = 4  # contents; as many Jacobians as the line of the Lyapunov exponents takes along one row
HORIZON = 32  # steps at most
TENTH = 2  # of the default sizes: 10% of the spread of the states, as the noise of the line Memory
GAIN = 2.0  # near 1 in a linear memory, not exactly 1: the directions between contents fade at different paces


def measure(subject: Subject) -> Finding:
    """Measure how many errors in the directions between contents are corrected, and what is left of the contents."""
    x = _take_sequences(subject)
    horizon = min(HORIZON, x.shape[1] // 2)
    found = error_correction(subject.step, x, directions=_find_directions(subject.step, x), horizon=horizon)
    hits = found.is_corrected[:, :, TENTH]
    corrected, count, size = int(hits.sum()), hits.numel(), float(found.sizes[TENTH])
    gain, retained, remaining = (
        float(each) for each in (found.gain[TENTH], found.retained[-1], found.remaining[TENTH, -1])
    )
    short = f"{corrected} of {count} corrected"
    if corrected == 0:
        verdict = "a linear memory corrects none either, unless it forgets them at the same pace"
    elif not gain >= GAIN:  # not a number where nothing is left of either
        short = f"{corrected} of {count}, by forgetting"
        verdict = "what the state stores is forgotten or overwritten at the same pace, as in a linear memory"
    else:
        verdict = "a linear memory corrects none, unless it forgets them at the same pace"
    sentence = (
        f"{corrected} of {count} perturbations of size {size:.2g}, towards or away from the states of other sequences, "
        f"were corrected within {format_steps(float(horizon))}. {remaining:.0%} of the errors is left, and "
        f"{retained:.0%} of the differences between sequences; {verdict}."
    )
    figures = {
        "corrected": corrected,
        "perturbations": count,
        "size": size,
        "steps": horizon,
        "recovery_time": finite_or_none(float(found.recovery_time[TENTH])),
        "remaining": finite_or_none(remaining),
        "retained": finite_or_none(retained),
        "gain": finite_or_none(gain),
    }
    return Finding(figures, short, sentence, lambda axes: found.plot(axes[0]))


def _take_sequences(subject: Subject) -> Float[Tensor, "rows steps input"]:
    """Return the first steps of several rows, or pieces of the row if there is only one."""
    steps = max(subject.portion().shape[1] // ROWS, 2)
    rows = subject.x if len(subject.x) > 1 else subject.x[0].unfold(0, steps, steps).mT
    return rows[:ROWS, :steps]


def _find_directions(step: Step, x: Tensor) -> Float[Tensor, "directions size"]:
    """Return the differences between the last states of all pairs of rows, and their opposites."""
    _, states = step.run(x)
    first, second = torch.triu_indices(len(x), len(x), 1)
    between = states[first, -1] - states[second, -1]
    between = between[between.norm(dim=1) > 0]
    if not len(between):
        raise UserError("it needs at least two sequences that lead to different states")
    return torch.cat([between, -between])
