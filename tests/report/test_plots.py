from itertools import combinations, count

import matplotlib
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from remanence.report import load, summarise
from remanence.report.plots import build_pictures, draw_cost, draw_learning
from remanence.report.style import DARK, DESKTOP, LIGHT, PHONE, Look, assign_looks, make_settings

LONG = "my_package.memories:AVeryLongClassNameThatSomebodyChose"


@pytest.fixture
def drawn(make_run):
    """The figure that one of the two functions draws of the runs given as the fields of each."""

    numbers = count()

    def make(draw, *runs, theme=LIGHT, layout=DESKTOP):
        rows = summarise(load([make_run(f"run{next(numbers)}", **fields) for fields in runs]))
        with matplotlib.rc_context(make_settings(theme, layout)):
            return draw(rows, assign_looks(row.runs[0].layer for row in rows), theme, layout)

    return make


def line_at(axes, marker):
    """Data of the lines with this marker; "None" for plain lines."""
    return [line.get_xydata() for line in axes.lines if line.get_marker() == marker]


def test_curves_are_the_mean_of_the_seeds_in_percent(drawn):
    steps, seconds = drawn(
        draw_learning,
        {"seed": 0, "curve": [(100, 1.0, 0.9), (200, 2.0, 0.5)]},
        {"seed": 1, "curve": [(100, 1.0, 0.7), (200, 2.0, 0.1)]},
    ).axes
    for axes, x in ((steps, (100, 200)), (seconds, (1, 2))):
        mean = next(data for data in line_at(axes, "None") if data[0, 0] == x[0])
        np.testing.assert_allclose(mean, [(x[0], 80), (x[1], 30)])
        np.testing.assert_allclose(line_at(axes, "o")[0], [(x[1], 50), (x[1], 10)])
        band = axes.collections[0].get_paths()[0].get_extents()
        np.testing.assert_allclose([band.y0, band.y1], [30 - 20 * np.sqrt(2), 80 + 10 * np.sqrt(2)])
    assert (steps.get_xlabel(), seconds.get_xlabel()) == ("optimiser steps", "seconds of training")
    assert steps.get_title(loc="left") == "validation error rate, %"
    assert [90.0, 90.0] in [list(line.get_ydata()) for line in steps.lines]  # chance


def test_a_failed_run_ends_in_a_cross_and_an_unfinished_one_does_not(drawn):
    axes, _ = drawn(
        draw_learning,
        {"layer": "gru", "failure": "nan", "curve": [(100, 1.0, 0.9), (200, 2.0, 0.8)]},
        {"layer": "lstm", "finished": False, "curve": [(100, 1.0, 0.6), (300, 3.0, 0.4)]},
    ).axes
    # Without any result the metric has no name and is no share of one.
    np.testing.assert_allclose(line_at(axes, "x"), [[(200, 80)]])
    assert {"gru", "lstm", "chance"} == {text.get_text() for text in axes.texts}


def test_points_and_bars_are_mean_and_spread(drawn):
    parameters, seconds = drawn(
        draw_cost,
        {"seed": 0, "test": 0.2, "seconds": 2.0, "parameters": 700},
        {"seed": 1, "test": 0.4, "seconds": 6.0, "parameters": 700},
    ).axes
    assert (parameters.get_xlabel(), seconds.get_xlabel()) == ("parameters", "seconds of training per run")
    spread = np.sqrt(2)
    for axes, x in ((parameters, 700), (seconds, 4)):
        np.testing.assert_allclose(line_at(axes, "o"), [[(x, 30)]])
    bars = next(item for item in seconds.containers if isinstance(item, ErrorbarContainer)).lines[2]
    ends = np.concatenate([segment for bar in bars for segment in bar.get_segments()])
    np.testing.assert_allclose(
        ends, [(4 - 2 * spread, 30), (4 + 2 * spread, 30), (4, 30 - 10 * spread), (4, 30 + 10 * spread)]
    )


@pytest.mark.parametrize("other", [3.0, 300.0])
def test_bars_end_inside_the_axes(drawn, other):
    """Also where times differ so much between seeds that a bar is longer than the distance between two memories."""
    runs = [{"seed": seed, "seconds": seconds} for seed, seconds in enumerate((1.0, 9.0, 2.0))]
    _, axes = drawn(draw_cost, *runs, {"layer": "gru", "seconds": other}).axes
    low, high = axes.get_xlim()
    for container in axes.containers:
        for bar in container.lines[2]:
            for segment in bar.get_segments():
                assert (segment[:, 0] >= low).all()
                assert (segment[:, 0] <= high).all()


def test_sizes_of_one_memory_are_joined_and_labelled_once(drawn):
    runs = [{"hidden_size": size, "parameters": 10 * size, "test": 1 / size} for size in (20, 50, 100)]
    axes, _ = drawn(draw_cost, *runs).axes
    assert [(200, 5), (500, 2), (1000, 1)] in [
        [tuple(np.round(point)) for point in line.get_xydata()] for line in axes.lines
    ]
    assert [text.get_text() for text in axes.texts].count("lstm") == 1


def test_each_size_has_learning_panels_of_its_own(drawn):
    figure = drawn(draw_learning, {"hidden_size": 20}, {"hidden_size": 100})
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.partition("  ")[0] for title in titles] == ["20 units", "20 units", "100 units", "100 units"]


def test_a_metric_over_many_decades_has_a_logarithmic_axis_that_still_shows_zero(drawn):
    curve = [(100, 1.0, 0.9), (200, 2.0, 0.001), (300, 3.0, 0.0)]
    axes = drawn(draw_learning, {"curve": curve}).axes[0]
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] < 0
    assert 0 in axes.get_yticks()
    assert drawn(draw_cost, {"layer": "gru", "test": 0.5}).axes[0].get_yscale() == "linear"


def test_seconds_are_logarithmic_where_one_memory_takes_many_times_as_long(drawn):
    slow = {"layer": "gru", "curve": [(100, 20.0, 0.9), (200, 40.0, 0.5)], "seconds": 40.0}
    for draw in (draw_learning, draw_cost):
        assert [axes.get_xscale() for axes in drawn(draw, {}, slow).axes] == ["linear", "log"]
        assert [axes.get_xscale() for axes in drawn(draw, {}).axes] == ["linear", "linear"]


MANY = [
    {"layer": f"memory_{index}", "seed": seed, "test": 0.3 + 0.01 * (index % 3) + 0.02 * seed, "seconds": 4.0 + seed}
    for index in range(8)
    for seed in range(2)
]
CLOSE = [
    {"layer": layer, "seed": seed, "test": 0.04 + 0.02 * seed, "seconds": 20.0 + 3 * seed, "parameters": 1000 + index}
    for index, layer in enumerate(("fast_weights", "lstm", LONG))
    for seed in range(2)
]

SEARCHED = [
    {"layer": f"memory_{index}", "test": 0.3 + 0.01 * (index % 3), "training": {"learning_rate": rate}}
    for index in range(5)
    for rate in (0.001, 0.004, 0.016)
]


@pytest.mark.slow
@pytest.mark.parametrize("layout", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("draw", [draw_learning, draw_cost])
@pytest.mark.parametrize("runs", [MANY, CLOSE, SEARCHED], ids=["many", "close", "searched"])
def test_labels_cover_neither_each_other_nor_a_bar_and_stay_on_the_page(drawn, draw, runs, layout):
    figure = drawn(draw, *runs, layout=layout)
    figure.canvas.draw()  # only now do annotations know where they are
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        # Of the text alone: the box of an annotation would hold its leader too.
        boxes = {text.get_text(): Text.get_window_extent(text, renderer) for text in axes.texts}
        assert len(boxes) == len({(run["layer"], str(run.get("training"))) for run in runs}) + 1
        for (one, a), (other, b) in combinations(boxes.items(), 2):
            assert not a.padded(-1).overlaps(b.padded(-1)), (one, other)
        for name, box in boxes.items():
            assert figure.bbox.padded(1).containsx(box.x0), name
            assert figure.bbox.padded(1).containsx(box.x1), name
            assert figure.bbox.padded(1).containsy(box.y0), name
            assert figure.bbox.padded(1).containsy(box.y1), name
            for container in axes.containers:
                for bar in container.lines[2]:
                    ends = axes.transData.transform(bar.get_segments()[0])
                    assert not box.padded(-1).overlaps(Bbox(ends).padded(0.5)), name


def test_dollars_in_a_name_are_no_mathematics(make_run):
    rows = summarise(load([make_run("a", layer="a$\\b$", metric="$\\c$")]))
    for picture in build_pictures(rows, assign_looks(["a$\\b$"])):
        assert b"a$\\b$" in picture.svg(LIGHT, DESKTOP)


def test_nothing_is_drawn_of_nothing(make_run):
    rows = summarise(load([make_run("a", finished=False, curve=())]))
    assert build_pictures(rows, assign_looks(["lstm"])) == []
    rows = summarise(load([make_run("b", finished=False)]))
    assert [picture.name for picture in build_pictures(rows, assign_looks(["lstm"]))] == ["learning"]


def test_memories_look_the_same_whatever_is_beside_them_and_differ_from_each_other():
    names = [f"layer{index}" for index in range(24)]
    assert assign_looks(reversed(names)) == {name: Look(index) for index, name in enumerate(sorted(names))}
    assert len({(look.colour(LIGHT), look.marker) for look in assign_looks(names).values()}) == 24


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_colour_can_be_read_on_its_paper(theme):
    """Contrast of WCAG 2: (L1 + 0.05) / (L2 + 0.05) of the relative luminances."""

    def luminance(colour):
        channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    paper = luminance(theme.paper)
    for colour in (*theme.colours, theme.ink, theme.muted):
        dark, light = sorted((luminance(colour), paper))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def test_seeds_that_disagree_have_a_line_each_and_their_median(drawn):
    ends = (0.1, 0.1, 0.8)
    runs = [{"seed": seed, "test": end, "curve": [(100, 1.0, 0.9), (200, 2.0, end)]} for seed, end in enumerate(ends)]
    axes = drawn(draw_learning, *runs).axes[0]
    lines = [tuple(np.round(line.get_ydata(), 6)) for line in axes.lines]
    assert lines.count((90.0, 10.0)) == 3  # two seeds and the median
    assert lines.count((90.0, 80.0)) == 1
    assert not axes.collections  # no band
    errors = drawn(draw_cost, *runs).axes[0]
    bars = next(item for item in errors.containers if isinstance(item, ErrorbarContainer)).lines[2]
    np.testing.assert_allclose([segment[:, 1] for bar in bars for segment in bar.get_segments()], [[10, 80]])
