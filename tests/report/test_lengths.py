"""The metric at each length: the figures of the table, the curve, and the page."""

import io
from math import sqrt

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from remanence.report import as_json, load, markdown, summarise, table, write
from remanence.report.length_pictures import build_length_pictures, draw_lengths
from remanence.report.style import DARK, DESKTOP, LIGHT, PHONE, assign_looks, make_settings

RUNS = (
    {"layer": "gru", "seed": 0, "lengths": {"40": 0.1, "256": 0.3, "1024": 0.5}},
    {"layer": "gru", "seed": 1, "lengths": {"40": 0.1, "256": 0.5, "1024": 0.5}},
    {"layer": "lstm", "lengths": {"40": 0.2, "256": 0.8, "1024": 0.9}},
)


@pytest.fixture
def runs_of(make_run):
    """The runs given as the fields of each."""
    return lambda *runs: load([make_run(f"run{number}", **fields) for number, fields in enumerate(runs)])


def draw(runs, theme=LIGHT, layout=DESKTOP):
    rows = summarise(runs)
    with matplotlib.rc_context(make_settings(theme, layout)):
        return draw_lengths(rows, assign_looks(row.runs[0].layer for row in rows), theme, layout)


def test_the_table_in_markdown_has_mean_and_spread_by_hand(runs_of):
    text = markdown(summarise(runs_of(*RUNS)))
    assert "Test error rate, %, by length, trained at 40:" in text
    assert "| layer | units | 40 | 256 | 1,024 |" in text
    spread = 10 * sqrt(2)  # of 30 and 50
    assert f"| gru | 50 | 10.0 ± 0.0 | 40.0 ± {spread:.1f} | 50.0 ± 0.0 |" in text
    assert "| lstm | 50 | 20.0 | 80.0 | 90.0 |" in text


@pytest.mark.parametrize("width", [60, 100])
def test_the_terminal_shows_the_centres_and_the_names(runs_of, width):
    file = io.StringIO()
    Console(file=file, width=width).print(table(summarise(runs_of(*RUNS))))
    lines = [line.split() for line in file.getvalue().splitlines()]
    assert ["layer", "units", "40", "256", "1,024"] in lines
    assert ["gru", "50", "10.0", "40.0", "50.0"] in lines
    assert ["lstm", "50", "20.0", "80.0", "90.0"] in lines


def test_json_has_the_value_of_each_seed(runs_of):
    found = {row["layer"]["name"]: row["lengths"] for row in as_json(summarise(runs_of(*RUNS)))}
    assert found["gru"] == {"40": (0.1, 0.1), "256": (0.3, 0.5), "1024": (0.5, 0.5)}
    assert found["lstm"] == {"40": (0.2,), "256": (0.8,), "1024": (0.9,)}


def test_a_curve_is_the_mean_of_the_seeds_in_percent(runs_of):
    (axes,) = draw(runs_of(*RUNS)).axes
    curves = [line.get_xydata() for line in axes.lines if line.get_marker() == "None"]
    for expected in ([(40, 10), (256, 40), (1024, 50)], [(40, 20), (256, 80), (1024, 90)]):
        assert any(np.shape(curve) == (3, 2) and np.allclose(np.asarray(curve), expected) for curve in curves)
    (band,) = axes.collections  # one seed has none
    extents = band.get_paths()[0].get_extents()
    np.testing.assert_allclose([extents.y0, extents.y1], [10, 40 + 10 * sqrt(2)])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["40", "256", "1,024"]
    assert [40, 40] in [np.asarray(line.get_xdata()).tolist() for line in axes.lines]  # the length of training
    assert [90.0, 90.0] in [np.asarray(line.get_ydata()).tolist() for line in axes.lines]  # chance


def test_each_size_has_a_panel(runs_of):
    fields = [{"hidden_size": size, "lengths": {"40": 0.1, "80": 0.2}} for size in (20, 50)]
    titles = [axes.get_title(loc="left") for axes in draw(runs_of(*fields)).axes]
    assert titles == ["20 units  test error rate, %", "50 units  test error rate, %"]


def test_runs_without_a_curve_leave_the_report_as_it_was(runs_of):
    runs = runs_of({"seed": 0}, {"seed": 1, "failure": "nan"}, {"seed": 2, "finished": False})
    rows = summarise(runs)
    assert build_length_pictures(rows, assign_looks(["lstm"])) == []
    assert "by length" not in markdown(rows)
    assert as_json(rows)[0]["lengths"] == {}


def test_a_run_of_an_earlier_version_does_not_count(runs_of):
    (row,) = summarise(runs_of({"seed": 0, "lengths": {"40": 0.1}}, {"seed": 1}))
    score = row.score_at(40)
    assert score is not None
    assert score.values == (0.1,)
    assert row.score_at(80) is None


def test_the_test_data_are_kept_back_while_a_choice_is_made(runs_of):
    rows = summarise(runs_of(*RUNS), split="validation")
    assert build_length_pictures(rows, assign_looks(["gru", "lstm"])) == []
    assert "by length" not in markdown(rows)


def test_the_page_has_the_picture_and_the_table(runs_of, tmp_path):
    page = write(runs_of(*RUNS), tmp_path / "out").read_text()
    assert "Error rate against length" in page
    assert "gru, 50 units: 10.0 ± 0.0 at 40, 40.0 ± 14.1 at 256, 50.0 ± 0.0 at 1,024" in page
    assert "Test error rate, %, by length, trained at 40." in page
    assert "<td>40.0 ± 14.1</td>" in page
    assert imread(tmp_path / "out" / "retrieval-lengths.png").shape[1] > 1000


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("layout", [DESKTOP, PHONE])
def test_nothing_is_drawn_outside_the_picture(runs_of, theme, layout):
    figure = draw(runs_of(*RUNS), theme, layout)
    width, height = figure.canvas.get_width_height()
    figure.canvas.draw()
    for axes in figure.axes:
        for text in [*axes.texts, *axes.get_xticklabels(), axes.title, axes.xaxis.label]:
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= width
            assert box.y1 <= height
