import json

import numpy as np
import pytest

from remanence.report import load


def test_a_run_is_read_whole(make_run):
    folder = make_run("one", layer="gru", hidden_size=7, seed=3, curve=[(10, 0.5, 0.9), (20, 1.5, 0.25)], test=0.125)
    (run,) = load([folder])
    assert (run.folder, run.task, run.layer, run.hidden_size, run.seed) == (folder, "retrieval", "gru", 7, 3)
    np.testing.assert_array_equal(run.curve["step"], [10, 20])
    np.testing.assert_array_equal(run.curve["seconds"], [0.5, 1.5])
    np.testing.assert_array_equal(run.curve["validation_metric"], [0.9, 0.25])
    assert run.result is not None
    assert run.result["test_metric"] == 0.125
    assert run.state == "finished"


def test_states(make_run):
    make_run("a", failure="the loss is nan")
    make_run("b", finished=False)
    make_run("c", finished=False, curve=())
    make_run("d")
    runs = load([make_run("e").parent])
    assert [run.state for run in runs] == ["failed", "unfinished", "unfinished", "finished", "finished"]
    assert len(runs[2].curve["step"]) == 0


def test_runs_come_in_the_order_given_and_each_once(make_run):
    b, a = make_run("b"), make_run("deep/er/a")
    assert [run.folder for run in load([b, a.parent, b, a])] == [b, a]
    assert [run.folder for run in load([b.parent])] == [b, a]


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", None), ("seconds", "long"), ("parameters", 1.5), ("test_metric", None), ("chance", [])],
)
def test_a_result_without_a_number_is_named(make_run, field, value):
    folder = make_run("run")
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(result | {field: value}))
    with pytest.raises(ValueError, match=rf"result\.json: {field} should be a number"):
        load([folder])


@pytest.mark.parametrize(("field", "value"), [("seed", 1), ("layer", "gru"), ("task", "digits"), ("hidden_size", 51)])
def test_a_result_of_another_run_is_refused(make_run, field, value):
    folder = make_run("run")
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(result | {field: value}))
    with pytest.raises(ValueError, match=rf"result\.json is that of another run, its {field} is "):
        load([folder])


def test_nothing_to_read(tmp_path):
    with pytest.raises(ValueError, match="none is not a folder: pass a run folder"):
        load([tmp_path / "none"])
    with pytest.raises(ValueError, match=r"no run in .*: create one with remanence train or remanence compare"):
        load([tmp_path])


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.yaml", "task: {name: retrieval\nlayer: [", r"config\.yaml, line 2: "),
        ("config.yaml", "task: {name: retrieval}", r"config\.yaml: .*layer\.name should be str"),
        ("config.yaml", "", r"config\.yaml: .*task\.name should be str"),
        ("metrics.csv", "step,seconds\n1,2\n", r"metrics\.csv, line 1: no column validation_metric"),
        ("metrics.csv", "step,seconds,validation_metric\n1,2,0.5\n2,3\n", r"metrics\.csv, line 3: a number is missing"),
        ("metrics.csv", "step,seconds,validation_metric\n1,2,x\n", r"metrics\.csv, line 2: a number is missing or b"),
        ("metrics.csv", "", r"metrics\.csv, line 1: no column step, seconds, validation_metric"),
        ("result.json", '{"metric":\n "error', r"result\.json, line 2: "),
        ("result.json", "[]", r"result\.json: .*metric, .*failure is missing"),
        ("result.json", "{}", r"result\.json: .*metric, .*failure is missing"),
        ("result.json", "\udcff\udcfe", r"result\.json: not text, byte 0"),
        ("result.json", "[" * 100_000, r"result\.json: .*nested too deeply"),
        ("config.yaml", "[" * 5000 + "]" * 5000, r"config\.yaml, line 1: more than"),
        ("config.yaml", "a: &a [*a]", r"config\.yaml, line 1: .*an alias to what surrounds it"),
        ("metrics.csv", "step,seconds,validation_metric\n1,2," + "9" * 200_000, r"metrics\.csv, line 2: longer than"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(make_run, file, text, message):
    folder = make_run("run")
    (folder / file).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=message) as error:
        load([folder])
    assert "\n" not in str(error.value)


def test_a_finished_run_must_have_a_figure(make_run):
    with pytest.raises(ValueError, match="test_metric should be a number"):
        load([make_run("run", test=None)])
