"""The pictures of the study of holding."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from remanence.report.style import DESKTOP, LIGHT, MARKERS, make_settings
from studies.holding.exact import Held
from studies.holding.neurons import Neurons
from studies.holding.success import Success

Histories = Mapping[str, Sequence[Sequence[Neurons]]]
"""Of each layer, of each seed, the neurons over training."""

HOLDING, OTHER = LIGHT.colours[0], LIGHT.colours[1]


def make_panels(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Create axes in the style of the reports."""
    with matplotlib.rc_context(make_settings(LIGHT, DESKTOP)):
        figure = Figure(figsize=(DESKTOP.width, DESKTOP.panel_height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def select_holders(histories: Sequence[Sequence[Neurons]], quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps [moments], and the median over the holding neurons at each, [seeds, moments]; NaN if none holds."""
    steps = np.array([neurons.step for neurons in histories[0]])
    values = [
        [compute_median(getattr(neurons, quantity)[neurons.holds]) for neurons in history] for history in histories
    ]
    return steps, np.array(values)


def compute_median(values: np.ndarray) -> float:
    """Compute the median of the known values; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def draw_net_input(tasks: Mapping[str, Histories]) -> Figure:
    """Draw the net input while holding and while writing, and the change of held values, over training."""
    figure, axes = make_panels(len(tasks), 2)
    for row, (task, layers) in zip(axes, tasks.items(), strict=True):
        for index, (name, histories) in enumerate(layers.items()):
            colour, marker = LIGHT.colours[index % len(LIGHT.colours)], MARKERS[index % len(MARKERS)]
            for column, (quantity, dash) in ((0, ("net_hold", "-")), (0, ("net_write", ":")), (1, ("kept", "-"))):
                steps, values = select_holders(histories, quantity)
                known = ~np.isnan(values).all(0)
                if not known.any():
                    continue
                steps, values = steps[known], values[:, known]
                named = name if dash == "-" else None
                row[column].plot(
                    steps, np.nanmedian(values, 0), dash, color=colour, marker=marker, markersize=3, label=named
                )
                low, high = np.nanmin(values, 0), np.nanmax(values, 0)
                row[column].fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        row[0].set(yscale="log", ylabel="spreads of the neuron", title=f"{task}: net input, hold (—), write (···)")
        row[1].set(yscale="log", title=f"{task}: change of the held value in a step")
        for panel in row:
            panel.set_xlabel("optimiser steps")
    draw_key(figure, axes[:, 1])
    return figure


def draw_key(figure: Figure, panels: Iterable[Axes]) -> None:
    """Draw one legend for all panels, below them."""
    named = {}
    for panel in panels:
        named |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False)


def draw_biases(layers: Histories) -> Figure:
    """Draw the magnitude of the biases, of neurons that hold at the end and of the others."""
    figure, axes = make_panels(-(-len(layers) // 2), 2)
    for panel, (name, histories) in zip(axes.flat, layers.items(), strict=False):
        steps = [neurons.step for neurons in histories[0]]
        counts = []
        for holds, colour, group in ((True, HOLDING, "holding at the end"), (False, OTHER, "others")):
            magnitudes = [
                np.concatenate([np.abs(history[moment].bias[history[-1].holds == holds]) for history in histories])
                for moment in range(len(steps))
            ]
            counts.append(len(magnitudes[0]))
            if not counts[-1]:
                continue
            low, mid, high = np.array([np.quantile(values, (0.1, 0.5, 0.9)) for values in magnitudes]).T
            panel.plot(steps, mid, color=colour, label=group)
            panel.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        panel.set(xlabel="optimiser steps", ylabel="|b|", title=f"{name}: {counts[0]} hold, {counts[1]} others")
    for panel in list(axes.flat)[len(layers) :]:
        panel.set_visible(False)
    draw_key(figure, axes.flat)
    return figure


def draw_by_delay(found: Sequence[Success]) -> Figure:
    """Draw the success rate, and the steps to success, against the delay."""
    figure, axes = make_panels(1, 2)
    names = list(dict.fromkeys(success.label for success in found))
    for index, name in enumerate(names):
        own = sorted((s for s in found if s.label == name), key=lambda s: s.task["options"]["delay"])
        shift = 1 + 0.05 * (index - len(names) / 2)  # so that equal figures do not hide each other
        delays = [shift * success.task["options"]["delay"] for success in own]
        style: dict[str, Any] = {
            "color": LIGHT.colours[index % len(LIGHT.colours)],
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 6,
            "linewidth": 0.8,
            "label": name,
        }
        axes[0, 0].plot(delays, [100 * success.rate for success in own], **style)
        axes[0, 1].plot(delays, [success.median for success in own], **style)
    delays = sorted({success.task["options"]["delay"] for success in found})
    axes[0, 0].set(xscale="log", xlabel="delay, steps", title="seeds that learn, %", ylim=(-4, 104))
    axes[0, 1].set(xscale="log", yscale="log", xlabel="delay, steps", title="optimiser steps until then, median")
    for panel in axes.flat:
        panel.set_xticks(delays, [f"{delay:,}" for delay in delays])
        panel.minorticks_off()
    ticks = [tick for tick in (10, 25, 50, 100, 200, 400, 800) if tick <= found[0].budget]
    axes[0, 1].set_yticks(ticks, [str(tick) for tick in ticks])
    axes[0, 1].set_ylim(20, found[0].budget)
    draw_key(figure, axes.flat)
    return figure


def draw_exact(held: Sequence[Held]) -> Figure:
    """Draw the value of a neuron with no net input."""
    figure, axes = make_panels(1, 1)
    panel: Axes = axes[0, 0]
    for index, one in enumerate(held):
        steps = np.unique(np.geomspace(1, len(one.values), 200).astype(int))
        panel.plot(
            steps, one.values[steps - 1], color=LIGHT.colours[index], dashes=(4, 1 + index), label=one.nonlinearity
        )
    panel.set(xscale="log", yscale="log", xlabel="steps without net input", ylabel="value")
    panel.legend(frameon=False)
    return figure
