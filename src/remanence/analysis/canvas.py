"""Axes and colours of the instruments' plots."""

from typing import Any

from remanence.extras import require_extra

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#5a6169"


def get_axes(axes: Any, columns: int = 1) -> Any:
    """Return the given axes, or those of a new figure with ``columns`` axes in a row."""
    with require_extra("analysis", "a picture"):
        from matplotlib import pyplot

    if axes is not None:
        return axes
    _, axes = pyplot.subplots(1, columns, figsize=(5.2 * columns, 3.8), layout="constrained")
    return axes
