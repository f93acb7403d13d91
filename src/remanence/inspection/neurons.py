"""Which neurons hold, in networks whose activations are never wiped."""

from collections.abc import Sequence
from typing import Any

from remanence.analysis import holding
from remanence.inspection.finding import Finding
from remanence.inspection.subject import Subject
from remanence.nn import Fastlane, PersistentLinear


def applies(subject: Subject) -> bool:
    """Whether there are such neurons."""
    return isinstance(subject.module, PersistentLinear | Fastlane)


def measure(subject: Subject) -> Finding:
    """Find neurons that keep a value for most of the time, on single sequences."""
    found = holding(subject.module, subject.x[:, : subject.length])  # type: ignore[arg-type]
    count, neurons = len(found.holders), len(found.share)
    held = found.net_input[found.held].abs()
    moved = found.net_input[~found.held].abs()
    sentence = f"{count} of {neurons} neurons hold a value for more than half of the time"
    figures: dict[str, Any] = {"holders": count, "neurons": neurons, "share": float(found.share.mean())}
    figures["edges"] = found.to_networkx().number_of_edges()
    if len(held) and len(moved):
        figures |= {"net_input_held": float(held.median()), "net_input_else": float(moved.median())}
        sentence += (
            f"; what arrives at a neuron is {figures['net_input_held']:.3g} while it holds, "
            f"{figures['net_input_else']:.3g} else (medians of the absolute value)"
        )

    def draw(axes: Sequence[Any]) -> None:
        found.plot(axes[0])
        found.graph(axes[1])

    return Finding(figures, f"{count} of {neurons} hold", sentence + ".", draw, panels=2, height=1.9)
