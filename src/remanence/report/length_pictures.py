"""Pictures of length generalisation: the metric against the length of the test sequences."""

from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from remanence.report.estimate import format_estimate
from remanence.report.labels import Label, wrap_label
from remanence.report.plots import (
    Picture,
    describe_scale,
    find_metric,
    find_variant,
    finish,
    fit_height,
    get_unit,
    list_sizes,
    make_grid,
    measure_margin,
    set_metric_axis,
    shorten_label,
)
from remanence.report.style import DASHES, Layout, Look, Theme
from remanence.report.tables import Row, find_train_length, format_heading, list_lengths


def build_length_pictures(rows: list[Row], looks: dict[str, Look]) -> list[Picture]:
    """Build the picture of the metric at each length; none where it was not measured."""
    lengths = list_lengths(rows)
    if not lengths:
        return []
    metric, trained = find_metric(rows), find_train_length(rows)
    caption = (
        f"The {metric} on test sequences of each length; lower is better. A line is the mean over seeds, its band one "
        "sample standard deviation to each side; the median with the lowest and the highest seed where that would "
        "reach beyond what the metric can be."
    )
    if trained is not None:
        caption += f" The dotted line marks the length of the training sequences, {trained:,}."
    levels = list_levels(rows)
    values = [
        f"{row.label}: "
        + ", ".join(f"{format_estimate(row.score_at(length), metric)} at {length:,}" for length in lengths)
        for row in rows
        if any(row.score_at(length) for length in lengths)
    ]
    picture = Picture(
        name="lengths",
        title=f"{metric.capitalize()} against length",
        caption=caption + describe_scale(rows, levels),
        alt=f"Line plot of test {format_heading(metric)} against the length of sequences. {'; '.join(values)}.",
        draw=lambda theme, layout: draw_lengths(rows, looks, theme, layout),
    )
    return [picture]


def list_levels(rows: list[Row]) -> list[float]:
    """List the values of all seeds at all lengths."""
    estimates = [row.score_at(length) for row in rows for length in list_lengths(rows)]
    return [value for estimate in estimates if estimate is not None for value in estimate.values]


def draw_lengths(rows: list[Row], looks: dict[str, Look], theme: Theme, layout: Layout) -> Figure:
    """Draw a panel for each hidden size."""
    groups = [[row for row in rows if row.runs[0].hidden_size == units] for units in list_sizes(rows)]
    names = {row: wrap_label(shorten_label(row, rows), layout.label_letters) for row in rows}
    layout = max(
        (fit_height([names[row] for row in group], layout) for group in groups), key=lambda one: one.panel_height
    )
    if len(groups) == 1:
        layout = replace(layout, columns=1)
    panels = make_grid(len(groups), layout, measure_margin([*names.values(), "chance"], layout))
    for axes, group in zip(panels, groups, strict=True):
        labels = [label for row in group for label in draw_row(axes, row, rows, looks, theme, names[row])]
        set_metric_axis(axes, rows, list_levels(rows))
        set_length_axis(axes, rows, theme)
        title = f"{group[0].runs[0].hidden_size} units" if len(groups) > 1 else ""
        finish(axes, rows, labels, theme, layout, f"{title}  test {format_heading(find_metric(rows))}".strip())
    return panels[0].figure  # type: ignore[return-value]


def draw_row(axes: Axes, row: Row, rows: list[Row], looks: dict[str, Look], theme: Theme, name: str) -> list[Label]:
    """Draw the curve of one row with its band; return its label."""
    look, factor = looks[row.runs[0].layer], get_unit(rows)
    points = [(length, estimate) for length in list_lengths(rows) if (estimate := row.score_at(length)) is not None]
    if not points:
        return []
    lengths = [float(length) for length, _ in points]
    centres = [factor * estimate.centre for _, estimate in points]
    low, high = zip(*(estimate.ends for _, estimate in points), strict=True)
    colour, dashes = look.colour(theme), DASHES[find_variant(row, rows) % len(DASHES)]
    axes.plot(lengths, centres, color=colour, linewidth=1.8, linestyle=dashes)
    axes.plot(lengths, centres, look.marker, color=colour, markersize=4.5, clip_on=False, zorder=4)
    if any(len(estimate.values) > 1 for _, estimate in points):
        below, above = ([factor * value for value in ends] for ends in (low, high))
        axes.fill_between(lengths, below, above, color=colour, alpha=0.16, linewidth=0)
    return [Label(name, lengths[-1], centres[-1], colour)]


def set_length_axis(axes: Axes, rows: list[Row], theme: Theme) -> None:
    """Scale the axis logarithmically, with a tick at each length, and mark that of training."""
    lengths, trained = list_lengths(rows), find_train_length(rows)
    axes.set_xscale("log")
    axes.set_xlim(lengths[0] / 1.05, lengths[-1] * 1.05)
    axes.xaxis.set_major_locator(FixedLocator(choose_ticks(lengths)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("length of the test sequences")
    if trained is not None:
        axes.axvline(trained, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)), zorder=1)


def choose_ticks(lengths: list[int]) -> list[int]:
    """Choose the lengths that have a tick, in increasing order: each half as long again as the one before, at least.

    Example:
        >>> choose_ticks([40, 50, 64, 128])
        [40, 64, 128]
    """
    ticks: list[int] = []
    for length in lengths:
        if not ticks or length >= 1.5 * ticks[-1]:
            ticks.append(length)
    return ticks
