"""What one line of the card found."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Draw = Callable[[Sequence[Any]], None]
"""Draws on so many axes."""


@dataclass(frozen=True, eq=False)
class Finding:
    """One line of the card for one memory.

    Attributes:
        figures: numbers by name, for JSON; None where there is no number.
        short: the text of a cell of the table.
        sentence: the result in plain words.
        draw: a function that draws it; None if nothing was measured.
        panels: the number of axes that it draws on.
        height: the height of the axes, relative to the usual height.
    """

    figures: Mapping[str, Any]
    short: str
    sentence: str
    draw: Draw | None = None
    panels: int = 1
    height: float = 1.0

    @classmethod
    def missing(cls, why: str) -> "Finding":
        """Return the finding for a line that could not be measured.

        Args:
            why: the reason, in words.
        """
        return cls({"missing": why}, "–", f"Not measured: {why}.")


def finite_or_none(value: float) -> float | None:
    """Return the number if JSON can represent it, else None."""
    return value if math.isfinite(value) else None


def format_steps(steps: float) -> str:
    """Format ``1 step``, ``21 steps``, ``0.52 steps``: two digits below 10, else whole steps."""
    amount = f"{steps:.2g}" if steps < 10 else f"{steps:.0f}"
    return f"{amount} step" if amount == "1" else f"{amount} steps"
