"""The smallest memory there is, one unit that feeds itself: y_n = w (x_n + y_{n-1}).

It forgets where |w| < 1, counts where w = 1 and explodes where |w| > 1. A table holds what the instruments say against
the formulas; --figure draws the answer to a constant input, and how much of a gradient is left.
"""

import argparse
import math

import torch
from rich.console import Console
from rich.table import Table

from remanence import analysis

STEPS = 30
SETTLES, HOLDS, EXPLODES = (0.5, 0.9, -0.9), (1.0, -1.0), (1.1, 1.2)


def feedback(w: float) -> analysis.Step:
    """The unit as the instruments take it: state y, input x."""
    return analysis.as_step(lambda x, y: w * (x + y), state=torch.zeros(1, 1).double(), input_size=1)


def answer(w: float, steps: int) -> torch.Tensor:
    """y_1 ... y_steps to the input x = 1: w + w² + ... + w^n."""
    n = torch.arange(1.0, steps + 1).double()
    return n if w == 1 else w * (1 - w**n) / (1 - w)


def gradients(w: float, steps: int) -> torch.Tensor:
    """|∂y_n / ∂y_{n-k}| for k = 0 ... steps, measured."""
    x = torch.ones(1, steps, 1).double()
    return analysis.gradient_flow(feedback(w), x, lambda y, states: states[:, -1].sum()).norms[0].flip(0)


def measure(w: float, steps: int = STEPS) -> dict[str, tuple[float, float]]:
    """What the instruments say, and what the formula says."""
    step, x = feedback(w), torch.ones(1, steps, 1).double()
    gramian = sum(w ** (2 * k) for k in range(1, steps + 1))
    return {
        f"y after {steps} steps": (float(step.run(x)[1][0, -1]), float(answer(w, steps)[-1])),
        "eigenvalue": (float(analysis.spectrum(step, x).eigenvalues[0, 0].real), w),
        "Lyapunov exponent": (float(analysis.lyapunov_exponents(step, x).exponents), math.log(abs(w))),
        f"gradient {steps} steps back": (float(gradients(w, steps)[-1]), abs(w) ** steps),
        "energy that inputs write": (float(analysis.controllability(step, x).gramian), gramian),
    }


def kind(w: float) -> str:
    """Of the equilibrium y = 0 without input; at w = 1 every y is one."""
    return analysis.fixed_points(feedback(w), starts=4, steps=300).verdicts[0].kind


def draw(path: str) -> None:
    """Dots: simulated; lines: the formula."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6), layout="constrained")
    x, n = torch.ones(1, STEPS, 1).double(), range(1, STEPS + 1)
    panels = {"|w| < 1: settles": SETTLES, "|w| = 1: counts, or swings": HOLDS, "|w| > 1: explodes": EXPLODES}
    for panel, (title, weights) in zip(axes.flat, panels.items(), strict=False):
        for w in weights:
            (line,) = panel.plot(n, answer(w, STEPS), linewidth=1)
            panel.plot(n, feedback(w).run(x)[1][0, 1:, 0], ".", color=line.get_color(), label=f"w = {w:g}")
        panel.set(title=title, xlabel="step n", ylabel="$y_n$ to the input $x = 1$")
        panel.legend()
    for w in (0.5, 0.9, 1.0, 1.1, 1.2):
        axes[1, 1].semilogy(range(STEPS + 1), gradients(w, STEPS), ".-", label=f"w = {w:g}")
    axes[1, 1].set(title="Gradient $|\\partial y_n / \\partial y_{n-k}| = |w|^k$", xlabel="steps back, k")
    axes[1, 1].legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", help="draw a picture to this file")
    options = parser.parse_args()
    table = Table("w", "without input", *measure(0.5), title="measured (formula)")
    for w in (0.5, 0.9, 1.0, 1.1, -0.9):
        table.add_row(f"{w:g}", kind(w), *(f"{seen:.4g} ({formula:.4g})" for seen, formula in measure(w).values()))
    Console(width=150).print(table)
    if options.figure:
        draw(options.figure)
