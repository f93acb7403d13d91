"""How much associative memories hold, from perfect and from distorted cues; how fast weights forget."""

import numpy as np
import torch
from _figure import COLOURS, panels, save
from scipy.special import erf

from remanence import analysis, nn

N, RATIOS, DECAYS = 200, [0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.3, 0.4, 0.6], (0.98, 0.95, 0.9)
MEMORIES = {
    "linear associator": lambda: nn.LinearAssociator(N),
    "fast weights, λ = 1": lambda: analysis.FastMemory(nn.FastWeights(1, N, decay=1.0)),
    "fast weights, λ = 0.95": lambda: analysis.FastMemory(nn.FastWeights(1, N, decay=0.95)),
    "Hopfield, Hebb": lambda: nn.Hopfield(N),
    "Hopfield, Storkey": lambda: nn.Hopfield(N, rule="storkey"),
    "Hopfield, pseudo-inverse": lambda: nn.Hopfield(N, rule="pseudo_inverse"),
    "modern Hopfield, β = 1": lambda: nn.ModernHopfield(N, beta=1.0),
}
LOOKS = ["-", "--", "-", "-", "-.", ":", "-"]


def by_age(decay: float, patterns: torch.Tensor) -> np.ndarray:
    """Overlap with what was stored, of the last pattern first."""
    memory = analysis.FastMemory(nn.FastWeights(1, N, decay=decay))
    memory.store(patterns)
    return (memory(patterns).sign() * patterns).mean(1).flip(0).numpy()


def theory(decay: float, ages: np.ndarray) -> np.ndarray:
    """Signal λ^a, and Σ λ^b / N from the diagonal, against normal crosstalk of variance Σ λ^{2b} / N (b ≠ a)."""
    diagonal = (1 / (1 - decay) - decay**ages) / N
    variance = (1 / (1 - decay**2) - decay ** (2 * ages)) / N
    return erf((decay**ages + diagonal) / np.sqrt(2 * variance))


def main() -> None:
    figure, axes = panels(3, 3.6)
    colours = [*COLOURS.values(), "#56b4e9", "#5a6169"]
    for plane, distortion in zip(axes[:2], (0.0, 0.2), strict=True):
        for (name, make), style, colour in zip(MEMORIES.items(), LOOKS, colours, strict=True):
            curve = analysis.capacity_curve(make, N, RATIOS, distortion=distortion, trials=3)
            plane.plot(curve.ratios, curve.overlaps.mean(1), style, color=colour, label=name)
            print(f"{name}, {distortion:.0%} wrong: overlap below 0.9 at q = {curve.capacity():.3f}")
        plane.axvline(0.138, color="#5a6169", linestyle=":", linewidth=1)
        plane.set(
            xlabel="patterns per unit, q = s/N", ylim=(-0.03, 1.03), title=f"cues: {distortion:.0%} of the signs wrong"
        )
    axes[0].set_ylabel("overlap with what was stored")
    axes[0].legend(fontsize=6.5, loc="lower left", frameon=True, edgecolor="none", framealpha=1)
    patterns = torch.randn(100, 400, N).sign()
    for decay, colour in zip(DECAYS, COLOURS.values(), strict=False):
        found, ages = np.mean([by_age(decay, trial) for trial in patterns], 0)[:100], np.arange(100)
        axes[2].plot(found, color=colour, label=f"λ = {decay}")
        axes[2].plot(theory(decay, ages), ":", color="black", linewidth=1)
        print(f"λ = {decay}: overlap below 0.9 from age {int((found < 0.9).argmax())}")
    axes[2].set(
        xlabel="patterns stored since",
        ylabel="overlap",
        ylim=(-0.03, 1.03),
        title="fast weights; dotted: theory",
    )
    axes[2].legend()
    save(figure, "associative_memories")


if __name__ == "__main__":
    main()
