import io
import json
from math import sqrt

import pytest
from rich.console import Console

from remanence.report import as_json, load, markdown, summarise, table
from remanence.report.estimate import Estimate, format_estimate
from remanence.report.tables import format_cells, format_task, group_by_task, list_columns, list_notes


@pytest.fixture
def rows_of(make_run):
    """Rows of the runs given as the fields of each, in this order."""

    def make(*runs):
        return summarise(load([make_run(f"run{number}", **fields) for number, fields in enumerate(runs)]))

    return make


def printed(rows, width=100):
    file = io.StringIO()
    Console(file=file, width=width).print(table(rows))
    return file.getvalue()


def test_mean_and_spread_over_seeds_by_hand(rows_of):
    """Tests 0.1, 0.2, 0.6: squares about the mean 0.3 sum to 0.14; seconds 2, 4, 9: about the mean 5 to 26."""
    (row,) = rows_of(
        {"seed": 2, "test": 0.6, "seconds": 9, "parameters": 12345},
        {"seed": 0, "test": 0.1, "seconds": 2, "parameters": 12345},
        {"seed": 1, "test": 0.2, "seconds": 4, "parameters": 12345},
    )
    assert [run.seed for run in row.runs] == [0, 1, 2]
    assert (row.score.mean, row.score.spread) == (pytest.approx(0.3), pytest.approx(sqrt(0.14 / 2)))
    assert (row.seconds.mean, row.seconds.spread) == (pytest.approx(5), pytest.approx(sqrt(26 / 2)))
    assert format_cells(row) == ("lstm", "50", "30.0 ± 26.5", "12,345", "200", "5.00 ± 3.61", "–", "3")


def test_memory_is_the_mean_where_it_was_measured(rows_of):
    (row,) = rows_of({"seed": 0, "test": 0.1}, {"seed": 1, "test": 0.1})
    for run, memory in zip(row.runs, (1000.0, 1501.0), strict=True):
        run.result["memory"] = memory
    assert format_cells(row)[-2:] == ("1,250", "2")


def test_one_seed_has_no_spread(rows_of):
    (row,) = rows_of({"test": 0.5, "seconds": 2.0})
    assert format_cells(row) == ("lstm", "50", "50.0", "1,000", "200", "2.00", "–", "1")


@pytest.mark.parametrize(
    ("mean", "spread", "metric", "text"),
    [
        (0.0181, 0.0012, "error rate", "1.81 ± 0.12"),
        (0.0, None, "error rate", "0"),
        (0.0, 0.0, "error rate", "0 ± 0"),
        (0.0004, None, "error rate", "0.0400"),
        (0.5, 0.25, "squared error", "0.500 ± 0.250"),
        (1234.4, 56.7, None, "1234 ± 57"),
        (-2.345, None, "nats", "-2.35"),
        (0.00001, 0.000002, "squared error", "1.00e-05 ± 2.00e-06"),
    ],
)
def test_figures_have_three_digits_and_shares_are_in_percent(mean, spread, metric, text):
    values = (mean,) if spread is None else (mean - spread / sqrt(2), mean + spread / sqrt(2))
    assert format_estimate(Estimate(values), metric) == text


def test_failed_and_unfinished_runs_do_not_count_and_are_named(rows_of):
    (row,) = rows_of(
        {"seed": 0, "test": 0.25, "seconds": 4.0},
        {"seed": 1, "failure": "the loss is nan at step 7"},
        {"seed": 2, "finished": False},
    )
    assert format_cells(row)[2:] == ("25.0", "1,000", "200", "4.00", "–", "1 of 3")
    failed, unfinished = list_notes(row)
    assert failed == "lstm, 50 units, seed 1 failed and does not count: the loss is nan at step 7"
    assert unfinished == "lstm, 50 units, seed 2: unfinished, does not count yet"
    assert "the loss is nan at step 7" in printed([row], width=200)


def test_a_row_without_figures_has_dashes_and_comes_last(rows_of):
    rows = rows_of({"layer": "gru", "finished": False}, {"layer": "lstm", "test": 0.9})
    assert [row.layer for row in rows] == ["lstm", "gru"]
    assert format_cells(rows[1]) == ("gru", "50", "–", "–", "–", "–", "–", "0 of 1")


def test_a_seed_that_counts_twice_is_pointed_out(rows_of):
    (row,) = rows_of({"seed": 4}, {"seed": 4})
    assert list_notes(row) == ["lstm, 50 units, seed 4: several runs of the same seed, so the spread may be too small"]


def test_runs_that_differ_in_more_than_the_seed_are_rows_of_their_own(rows_of):
    rows = rows_of(
        {"test": 0.1, "training": {"learning_rate": 0.003}},
        {"test": 0.2, "training": {"learning_rate": 0.01}},
        {"test": 0.3, "layer_options": {"decay": 0.9}},
        {"test": 0.4, "hidden_size": 20, "training": {"learning_rate": 0.01}},
    )
    assert [row.label for row in rows] == [
        "lstm learning_rate=0.003, 50 units",
        "lstm learning_rate=0.01, 50 units",
        "lstm decay=0.9 learning_rate=0.001, 50 units",
        "lstm learning_rate=0.01, 20 units",
    ]


@pytest.mark.parametrize("names", [["retrieval", "digits"], ["digits", "retrieval"]])
def test_tasks_keep_the_order_of_the_runs_and_the_best_row_is_first(rows_of, names):
    rows = rows_of(
        *({"task": task, "layer": layer, "test": len(layer) / 10} for layer in ("lstm", "gru") for task in names)
    )
    assert [(row.runs[0].task, row.layer) for row in rows] == [
        (task, layer) for task in names for layer in ("gru", "lstm")
    ]
    assert [format_task(group)[0] for group in group_by_task(rows)] == names
    text = printed(rows)
    assert text.index(names[0]) < text.index(names[1])


def test_the_same_task_with_other_options_is_another_task_and_says_so(rows_of):
    rows = rows_of({"task_options": {"pairs": 3, "test": 10000}}, {"task_options": {"pairs": 8}}, {})
    assert [format_task(group) for group in group_by_task(rows)] == [
        ("retrieval", "pairs 3, test 10,000"),
        ("retrieval", "pairs 8"),
        ("retrieval", ""),
    ]


def test_the_printed_table_holds_names_in_square_brackets_and_long_names_whole(rows_of):
    long = "fast_weights_with_a_name_that_is_longer_than_any_column_of_a_terminal_may_ever_be_expected_to_be"
    text = printed(rows_of({"layer": "[bold]red[/]", "test": 0.1}, {"layer": long, "test": 0.2}), width=80)
    assert "[bold]red[/]" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    folded = "".join(line.split("  ")[0].strip() for line in text.splitlines())
    assert long in folded
    assert "20.0" in text
    assert "chance" in text


def test_json_has_stable_keys_and_unrounded_figures(rows_of):
    rows = rows_of(
        {"seed": 0, "test": 0.1234567, "seconds": 2.0, "task_options": {"pairs": 3}},
        {"seed": 1, "failure": "nan", "task_options": {"pairs": 3}},
        {"seed": 2, "finished": False, "task_options": {"pairs": 3}},
        {"layer": "gru", "finished": False},
    )
    known, empty = json.loads(json.dumps(as_json(rows)))
    assert known == {
        "task": {"name": "retrieval", "options": {"pairs": 3}},
        "layer": {"name": "lstm", "hidden_size": 50, "options": {}},
        "settings": {},
        "metric": "error rate",
        "chance": 0.9,
        "mean": 0.1234567,
        "spread": None,
        "median": 0.1234567,
        "solved": 0,
        "values": [0.1234567],
        "lengths": {},
        "parameters": 1000,
        "steps": 200,
        "seconds": 2.0,
        "seconds_spread": None,
        "memory": None,
        "seeds": [0],
        "failed": {"1": "nan"},
        "unfinished": [2],
    }
    assert list(empty) == list(known)
    assert (empty["mean"], empty["values"], empty["parameters"], empty["unfinished"]) == (None, [], None, [0])


def test_the_markdown_table_has_the_cells_of_the_printed_one(rows_of):
    rows = rows_of(
        {"seed": 0, "test": 0.25}, {"layer": "gru", "test": 0.1}, {"layer": "gru", "seed": 1, "failure": "nan"}
    )
    lines = markdown(rows).splitlines()
    assert lines[0] == "**retrieval**"
    table = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    assert tuple(table[0]) == list_columns(rows)
    assert table[1] == ["---", *["---:"] * 7]
    assert table[2:4] == [list(format_cells(row)) for row in rows]
    assert table[4][0] == "chance"
    assert "gru, 50 units, seed 1 failed and does not count: nan" in lines


def test_runs_of_earlier_versions_with_fewer_fields_share_a_row(rows_of):
    (row, apart) = rows_of(
        {"seed": 0, "test": 0.1},
        {"seed": 1, "test": 0.1, "training": {"frozen": [], "snapshot_every": None, "warmup": 0}},
        {"seed": 2, "test": 0.2, "training": {"frozen": ["memory.bias"]}},
    )
    assert len(row.runs) == 2
    assert (row.layer, apart.layer) == ("lstm frozen=[]", 'lstm frozen=["memory.bias"]')


def test_a_drawn_number_is_shown_with_four_digits(rows_of):
    rows = rows_of(*({"training": {"learning_rate": rate}} for rate in (0.058029180799426164, 0.0125)))
    assert {row.layer for row in rows} == {"lstm learning_rate=0.05803", "lstm learning_rate=0.0125"}


def test_a_field_is_named_whole_where_its_end_is_an_option_too(rows_of):
    rows = rows_of(*({"layer_options": {"clip": 0.9}, "training": {"clip": clip}} for clip in (2, 1)))
    assert [row.layer for row in rows] == [f"lstm clip=0.9 training.clip={clip}" for clip in (1, 2)]


def test_seeds_that_disagree_are_counted(rows_of):
    rows = rows_of(*({"seed": seed, "test": test} for seed, test in enumerate((0.032, 0.563, 0.036, 0.033))))
    assert format_cells(rows[0])[2] == "3.45 (3.20 to 56.3)"
    assert format_cells(rows[0])[-1] == "4, 3 solved"
    assert "median (lowest to highest)" in " ".join(printed(rows).split())
    assert "median (lowest to highest)" in markdown(rows)
    assert as_json(rows)[0]["solved"] == 3


def test_seeds_that_agree_have_no_note(rows_of):
    assert "median" not in printed(rows_of({"seed": 0, "test": 0.2}, {"seed": 1, "test": 0.21}))
