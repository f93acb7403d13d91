"""How long the state shows what came in."""

import math

from remanence.analysis import retention
from remanence.inspection.finding import Finding, number
from remanence.inspection.subject import Subject

DELAYS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
NOISE = 0.1  # of the spread of the inputs


def measure(subject: Subject) -> Finding:
    """Half-life of an input that is followed by others, as a linear probe reads it from the state."""
    symbols = subject.symbols()
    spread = float(symbols.std(0).square().mean().sqrt())
    curve = retention(
        subject.step, symbols, DELAYS, samples=400, trials=3, distractors=True, noise=NOISE * spread
    )  # fmt: skip
    first, half_life, chance = float(curve.mean[0]), curve.half_life, curve.chance
    asked = f"Of {len(symbols)} inputs, a linear probe names the one that just came in {first:.0%} of cases"
    if math.isnan(half_life) or first <= 1.5 * chance:
        short, sentence = "none", f"{asked}, about chance ({chance:.0%}): the state does not show what came in."
        half_life = math.nan
    elif math.isfinite(half_life):
        short = f"{half_life:.3g} steps"
        sentence = f"{asked}; half of what it knows above chance ({chance:.0%}) is gone {half_life:.3g} steps later."
    else:
        short = f"> {DELAYS[-1]} steps"
        sentence = f"{asked}, and {DELAYS[-1]} steps later it still knows more than half of that."
    figures = {"half_life": number(half_life), "first": first, "chance": chance, "longest_delay": DELAYS[-1]}
    return Finding(figures, short, sentence, lambda axes: curve.plot(axes[0]))
