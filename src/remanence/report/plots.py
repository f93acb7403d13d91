"""Pictures: learning curves, and the metric against parameters and time."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from remanence.report.estimate import Estimate, format_estimate, is_share
from remanence.report.labels import Box, Label, label_margin, label_points, measure_text, wrap_label
from remanence.report.mean_curve import Against, compute_mean_curve
from remanence.report.style import DASHES, Layout, Look, Theme, make_settings
from remanence.report.tables import Row, find_first, format_heading

LEFT, TOP, BOTTOM, BETWEEN = 0.62, 0.34, 0.5, 0.3  # inches around a panel
WIDE = 5  # an axis whose ends differ by this factor is logarithmic
STEEP = 20  # a metric whose values differ by this factor is shown on a logarithmic axis


@dataclass(frozen=True)
class Picture:
    """A picture that can be drawn for any theme and layout, and what to say of it.

    Attributes:
        name: for its file.
        title: what it shows.
        caption: how to read it.
        alt: a text alternative with the figures, for readers who cannot see it.
        draw: makes the figure.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Theme, Layout], Figure]

    def svg(self, theme: Theme, layout: Layout) -> bytes:
        """Render the picture as SVG, with text in the reader's own sans-serif font."""
        with matplotlib.rc_context(make_settings(theme, layout)):
            file = io.BytesIO()
            empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            self.draw(theme, layout).savefig(file, format="svg", transparent=True, metadata=empty)
        fonts = b"system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
        return file.getvalue().replace(b"'DejaVu Sans'", fonts)

    def png(self, theme: Theme, layout: Layout) -> bytes:
        """Render the picture as PNG."""
        with matplotlib.rc_context(make_settings(theme, layout)):
            file = io.BytesIO()
            self.draw(theme, layout).savefig(file, format="png", dpi=150)
        return file.getvalue()


def build_pictures(rows: list[Row], looks: dict[str, Look]) -> list[Picture]:
    """Build the pictures of one task, without those that have no figures yet."""
    result = []
    if any(len(run.curve["step"]) for row in rows for run in row.runs):
        result.append(build_learning_picture(rows, looks))
    if any(row.score for row in rows):
        result.append(build_cost_picture(rows, looks))
    return result


def build_learning_picture(rows: list[Row], looks: dict[str, Look]) -> Picture:
    """Build the picture of the learning curves."""
    metric = find_metric(rows)
    levels = [value for row in rows for run in row.runs for value in run.curve["validation_metric"]]
    caption = (
        f"The {metric} on the validation set while training, against optimiser steps and against seconds; lower is "
        "better. A line is the mean over seeds, its band one sample standard deviation to each side, and each marker "
        "the place where one seed ended; a seed that ended early counts with its last value from there on."
    )
    if disagreeing := [row.label for row in rows if row.score and row.score.disagrees]:
        caption += (
            f" Where seeds went different ways ({'; '.join(disagreeing)}) each has a thin line of its own, and the "
            "thick one is their median."
        )
    if any(run.state != "finished" for row in rows for run in row.runs):
        caption += " Thin dashed lines are single runs that failed (they end in a cross) or are not finished."
    ends = [
        f"{row.label} {format_estimate(Estimate.of([curve.mean[-1]]), metric)}"
        for row in rows
        if (curve := compute_mean_curve(row.in_state("finished"), "step"))
    ]
    return Picture(
        name="learning",
        title="Learning curves",
        caption=caption + describe_scale(rows, levels),
        alt=f"Line plots of validation {format_heading(metric)} against steps and seconds. Last values: "
        f"{'; '.join(ends) or 'no run is finished'}.",
        draw=lambda theme, layout: draw_learning(rows, looks, theme, layout),
    )


def build_cost_picture(rows: list[Row], looks: dict[str, Look]) -> Picture:
    """Build the picture of the metric against parameters and against seconds."""
    metric = find_metric(rows)
    levels = [value for row in rows for value in row.scores]
    caption = (
        f"The {metric} on the {rows[0].split} set against the size of the model and against the time its training "
        "took; best is the lower left corner. A point is the mean over seeds, its bars one sample standard deviation "
        "to each side; the median with the lowest and the highest seed where that would reach beyond what the metric "
        "can be."
    )
    if len(list_sizes(rows)) > 1:
        units = ", ".join(map(str, list_sizes(rows)))
        caption += f" A line joins the sizes of one memory ({units} units)."
    points = [
        f"{row.label}: {format_estimate(row.score, metric)} with {row.parameters:,} parameters in "
        f"{format_estimate(row.seconds)} s"
        for row in rows
        if row.score
    ]
    return Picture(
        name="cost",
        title=f"{metric.capitalize()} against parameters and time",
        caption=caption + describe_scale(rows, levels),
        alt=f"Scatter plots of {rows[0].split} {format_heading(metric)} against parameters and seconds. "
        f"{'; '.join(points)}.",
        draw=lambda theme, layout: draw_cost(rows, looks, theme, layout),
    )


def draw_learning(rows: list[Row], looks: dict[str, Look], theme: Theme, layout: Layout) -> Figure:
    """Draw a row of panels for each hidden size: against steps, against seconds."""
    groups = [[row for row in rows if row.runs[0].hidden_size == units] for units in list_sizes(rows)]
    names = {row: wrap_label(shorten_label(row, rows), layout.label_letters) for row in rows}
    layout = max(
        (fit_height([names[row] for row in group], layout) for group in groups), key=lambda one: one.panel_height
    )
    panels = make_grid(2 * len(groups), layout, measure_margin([*names.values(), "chance"], layout))
    levels = [value for row in rows for run in row.runs for value in run.curve["validation_metric"]]
    axes_of: list[tuple[Axes, list[Row], Against]] = [
        (panels[2 * index + column], group, against)
        for index, group in enumerate(groups)
        for column, against in enumerate[Against](("step", "seconds"))
    ]
    for axes, group, against in axes_of:
        labels = [label for row in group for label in draw_row(axes, row, rows, looks, theme, against, names[row])]
        set_metric_axis(axes, rows, levels)
        set_time_axis(axes, group, against)
        title = f"{group[0].runs[0].hidden_size} units" if len(groups) > 1 else ""
        finish(axes, rows, labels, theme, layout, f"{title}  validation {format_heading(find_metric(rows))}".strip())
    return panels[0].figure  # type: ignore[return-value]


def draw_row(
    axes: Axes, row: Row, rows: list[Row], looks: dict[str, Look], theme: Theme, against: Against, name: str
) -> list[Label]:
    """Draw the curves of one row: mean and band of finished runs, thin lines of others; return the labels."""
    look, factor = looks[row.runs[0].layer], get_unit(rows)
    colour = look.colour(theme)
    labels = []
    for run in row.runs:
        x, y = run.curve[against], factor * run.curve["validation_metric"]
        if run.state != "finished" and len(x):
            axes.plot(x, y, color=colour, linewidth=0.9, linestyle=(0, (6, 3)), alpha=0.8)
            if run.state == "failed":
                axes.plot(x[-1:], y[-1:], "x", color=colour, clip_on=False)
            labels = [Label(name, x[-1], y[-1], colour)]
    curve = compute_mean_curve(row.in_state("finished"), against)
    if curve is None:
        return labels
    if row.score is not None and row.score.disagrees:
        for run in row.in_state("finished"):
            x, y = run.curve[against], factor * run.curve["validation_metric"]
            axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.7)
        curve = replace(curve, mean=curve.median, spread=None)
    mean = factor * curve.mean
    axes.plot(curve.x, mean, color=colour, linewidth=1.8, linestyle=DASHES[find_variant(row, rows) % len(DASHES)])
    if curve.spread is not None:
        spread = factor * curve.spread
        low = np.maximum(mean - spread, min(0, mean.min()))
        axes.fill_between(curve.x, low, mean + spread, color=colour, alpha=0.16, linewidth=0)
    axes.plot(
        [x for x, _ in curve.ends],
        [factor * y for _, y in curve.ends],
        look.marker,
        color=colour,
        markersize=4.5,
        clip_on=False,
        zorder=4,
    )
    return [Label(name, curve.x[-1], mean[-1], colour)]


def draw_cost(rows: list[Row], looks: dict[str, Look], theme: Theme, layout: Layout) -> Figure:
    """Draw two panels: against parameters, against seconds."""
    done = [row for row in rows if row.score]
    names = {row: wrap_label(shorten_label(row, rows), layout.label_letters) for row in done}
    layout = fit_height(list(names.values()), layout)
    panels = make_grid(2, layout, measure_margin([*names.values(), "chance"], layout))
    factor = get_unit(rows)
    levels = [value for row in done for value in row.scores]
    quantities: list[tuple[str, Callable[[Row], Estimate | None]]] = [
        ("parameters", lambda row: Estimate.of([float(row.parameters or 0)])),
        ("seconds of training per run", lambda row: row.seconds),
    ]
    for axes, (name, quantity) in zip(panels, quantities, strict=True):
        labels, taken = [], []
        for layer in dict.fromkeys(row.layer for row in done):
            series = sorted((row for row in done if row.layer == layer), key=lambda row: row.runs[0].hidden_size)
            look = looks[series[0].runs[0].layer]
            points = [draw_point(axes, row, quantity(row), factor, look, theme) for row in series]
            axes.plot([p.x for p in points], [p.y for p in points], color=look.colour(theme), linewidth=1, alpha=0.6)
            labels.append(Label(names[series[-1]], points[-1].x, points[-1].y, look.colour(theme)))
            taken += points
        set_metric_axis(axes, rows, levels)
        ends = [end for point in taken for end in (point.bars[0][0], point.bars[0][2])]
        set_quantity_axis(axes, [point.x for point in taken], ends)
        axes.set_xlabel(name)
        bars = [bar for point in taken for bar in point.bars]
        crowded = not label_points(axes, labels, bars, layout.font)
        finish(
            axes, rows, labels if crowded else [], theme, layout, f"{rows[0].split} {format_heading(find_metric(rows))}"
        )
    return panels[0].figure  # type: ignore[return-value]


@dataclass(frozen=True)
class Point:
    """Where a point was drawn, and the boxes that its bars take, flat ones, in data coordinates."""

    x: float
    y: float
    bars: tuple[Box, Box]


def draw_point(axes: Axes, row: Row, quantity: Estimate | None, factor: float, look: Look, theme: Theme) -> Point:
    """Draw a point with its bars."""
    assert row.score is not None
    assert quantity is not None
    x, y = quantity.centre, factor * row.score.centre
    left, right = (abs(x - end) for end in quantity.ends)
    below, above = (abs(y - factor * end) for end in row.score.ends)
    axes.errorbar(
        x,
        y,
        xerr=[[left], [right]] if left or right else None,
        yerr=[[below], [above]] if below or above else None,
        color=look.colour(theme),
        marker=look.marker,
        markersize=6.5,
        linewidth=1.2,
        clip_on=False,
        zorder=4,
    )
    return Point(x, y, ((x - left, y, x + right, y), (x, y - below, x, y + above)))


def make_grid(count: int, layout: Layout, right: float) -> list[Axes]:
    """Create axes placed in inches, so that every panel has the height and the margins that it needs."""
    rows = -(-count // layout.columns)
    height = rows * (TOP + layout.panel_height + BOTTOM)
    page = Figure(figsize=(layout.width, height))
    FigureCanvasAgg(page)
    width = (layout.width - (layout.columns - 1) * BETWEEN) / layout.columns
    return [
        page.add_axes(
            (
                ((index % layout.columns) * (width + BETWEEN) + LEFT) / layout.width,
                1
                - (index // layout.columns * (TOP + layout.panel_height + BOTTOM) + TOP + layout.panel_height) / height,
                (width - LEFT - right) / layout.width,
                layout.panel_height / height,
            )
        )
        for index in range(count)
    ]


def fit_height(texts: Sequence[str], layout: Layout) -> Layout:
    """Increase the height of the panels so that these labels and that of chance fit beside them."""
    needed = sum(measure_text(text, layout.font)[1] for text in [*texts, "chance"]) / 72
    return replace(layout, panel_height=max(layout.panel_height, needed))


def measure_margin(texts: Iterable[str], layout: Layout) -> float:
    """Compute how many inches the labels in the right margin need."""
    return max(measure_text(text, layout.font)[0] for text in texts) / 72 + 0.2


def finish(axes: Axes, rows: list[Row], labels: list[Label], theme: Theme, layout: Layout, title: str) -> None:
    """Add the title, the line of chance, and the labels in the margin."""
    axes.set_title(title, loc="left", color=theme.ink, parse_math=False)
    chance = find_chance(rows)
    if chance is not None:
        axes.axhline(chance * get_unit(rows), color=theme.muted, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        labels = [*labels, Label("chance", axes.get_xlim()[1], chance * get_unit(rows), theme.muted)]
    if labels:
        label_margin(axes, labels, layout.font)


def set_metric_axis(axes: Axes, rows: list[Row], levels: Sequence[float]) -> None:
    """Scale the vertical axis from 0: linear, or logarithmic above a threshold and linear below it."""
    top = max([*levels, find_chance(rows) or 0.0]) * get_unit(rows)
    below = min([*levels, 0.0]) * get_unit(rows)
    threshold = find_log_threshold(rows, levels)
    if threshold is None:
        axes.set_ylim(below - 0.025 * (top - below or 1), top + 0.06 * (top - below or 1))
    else:
        axes.set_yscale("symlog", linthresh=threshold, linscale=0.35)
        axes.set_ylim(-0.12 * threshold, 1.3 * top)
        decades = np.arange(0, np.ceil(np.log10(top / threshold)) + 1)
        steps = (1,) if len(decades) > 3 else (1, 2, 5)
        ticks = [0.0, *(threshold * 10**decade * step for decade in decades for step in steps)]
        axes.set_yticks([tick for tick in ticks if tick <= 1.3 * top])
        axes.yaxis.set_minor_locator(NullLocator())
        axes.spines["left"].set_bounds(0, 1.3 * top)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def find_log_threshold(rows: list[Row], levels: Sequence[float]) -> float | None:
    """Find where the logarithmic part of the axis begins, a power of ten; None if it is linear throughout.

    Below it the axis is linear down to 0, so that a metric of exactly 0 is still seen.
    """
    positive = [value * get_unit(rows) for value in levels if value > 0]
    top = max([*levels, find_chance(rows) or 0.0]) * get_unit(rows)
    if not positive or min(levels) < 0 or min(positive) * STEEP > top:
        return None
    # Not more than six decades: what lies below is as good as 0.
    return float(10 ** np.floor(np.log10(max(min(positive), top * 1e-6))))


def describe_scale(rows: list[Row], levels: Sequence[float]) -> str:
    """Describe the vertical axis in a sentence, if it is not linear."""
    threshold = find_log_threshold(rows, levels)
    if threshold is None:
        return ""
    percent = " %" if is_share(find_metric(rows)) else ""
    return f" The vertical axis is logarithmic down to {threshold:g}{percent} and linear from there to 0."


def set_time_axis(axes: Axes, rows: list[Row], against: Against) -> None:
    """Scale the time axis: steps are linear; seconds are logarithmic where memories differ several times."""
    curves = [run.curve[against] for row in rows for run in row.runs if len(run.curve[against])]
    axes.set_xlabel("optimiser steps" if against == "step" else "seconds of training")
    ends = [float(curve[-1]) for curve in curves]
    starts = [float(curve[0]) for curve in curves if curve[0] > 0]
    if against == "seconds" and starts and max(ends) > WIDE * min(ends):
        set_log_axis(axes, min(starts), max(ends))
    else:
        axes.set_xlim(0, max(ends, default=1.0))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
        axes.locator_params(axis="x", nbins=5)


def set_quantity_axis(axes: Axes, values: Sequence[float], ends: Sequence[float]) -> None:
    """Scale the axis from 0, or logarithmically where the values differ several times; the bars end inside of it."""
    if min(values) > 0 and max(values) > WIDE * min(values):
        low = min(min(values) / 1.4, *(end for end in ends if end > 0))
        set_log_axis(axes, low, max(max(values) * 1.6, *ends))
    else:
        axes.set_xlim(0, max(max(values) * 1.15, *ends) or 1)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
        axes.locator_params(axis="x", nbins=5)


def set_log_axis(axes: Axes, low: float, high: float) -> None:
    """Set a logarithmic horizontal axis with plain numbers."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    steps = (1.0, 2.0, 5.0) if high < 100 * low else (1.0, 3.0) if high < 1000 * low else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def format_number(value: float) -> str:
    """Abbreviate ``12500`` to ``12.5k``.

    Example:
        >>> [format_number(value) for value in (0.0, 0.5, 900.0, 12500.0, 3e6)]
        ['0', '0.5', '900', '12.5k', '3M']
    """
    for size_, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size_:
            return f"{value / size_:.4g}{letter}"
    return f"{value:.4g}"


def shorten_label(row: Row, rows: list[Row]) -> str:
    """Return the layer's name, with its options only where rows of the same name differ in them."""
    same = {other.layer for other in rows if other.runs[0].layer == row.runs[0].layer}
    name, _, rest = row.layer.partition(" ")
    name = name.rpartition(":")[2]
    return f"{name} {rest}" if len(same) > 1 else name


def find_variant(row: Row, rows: list[Row]) -> int:
    """Return the index among the variants of one layer, which decides the dashes."""
    return list(dict.fromkeys(other.layer for other in rows if other.runs[0].layer == row.runs[0].layer)).index(
        row.layer
    )


def list_sizes(rows: list[Row]) -> list[int]:
    """List the hidden sizes."""
    return sorted({row.runs[0].hidden_size for row in rows})


def find_metric(rows: list[Row]) -> str:
    """Return the name of the task's metric."""
    return find_first(row.metric for row in rows) or "metric"


def find_chance(rows: list[Row]) -> float | None:
    """Return the task's level of chance."""
    return find_first(row.chance for row in rows)


def get_unit(rows: list[Row]) -> float:
    """Return the factor by which the metric is multiplied for display: rates are shown in percent."""
    return 100.0 if is_share(find_metric(rows)) else 1.0
