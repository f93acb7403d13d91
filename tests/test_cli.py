import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from remanence.cli import main

TINY = ["--set", "task.options.train=64", "--set", "task.options.validation=32", "--set", "task.options.test=32"]
SMALL = [*TINY, "--set", "training.epochs=1", "--set", "model.embedding=[8]"]


@pytest.fixture
def remanence(tmp_path):
    """Run the command as a user would, in an empty folder."""

    def run(*arguments, code=0):
        environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
        command = [sys.executable, "-m", "remanence", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def listing(monkeypatch, capsys):
    """Run ``remanence list`` in this process: a new one would import for seconds."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["remanence", "list", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    return run


def test_list_has_every_layer_and_task(listing):
    names = json.loads(listing("--json"))
    assert {"elman", "irnn", "lstm", "gru", "alstm", "fast_weights"} <= set(names["layers"])
    assert {"retrieval", "digits"} <= set(names["tasks"])
    text = listing()
    assert all(name in text for name in [*names["layers"], *names["tasks"]])


def test_list_shows_examples_of_a_task(listing):
    text = listing("--task", "retrieval")
    assert "->" in text
    assert "0.9 by chance" in text
    facts = json.loads(listing("--task", "digits", "--json"))
    assert facts["input_size"] == 1
    assert len(facts["examples"]) == 3


def test_train_then_again_then_report(remanence, tmp_path):
    arguments = ["train", "retrieval", "--layer", "gru", "--hidden-size", "5", "--output", "run", *SMALL]
    first = remanence(*arguments)
    assert "gru" in first.stdout
    record = (tmp_path / "run/metrics.csv").read_bytes()
    assert remanence(*arguments).stdout == first.stdout
    assert (tmp_path / "run/metrics.csv").read_bytes() == record
    rows = json.loads(remanence("report", "run", "--json").stdout)
    assert json.dumps(rows).count('"gru"') >= 1
    assert (tmp_path / "run/report.html").stat().st_size > 10_000


def test_the_demo_at_a_tiny_size(remanence, tmp_path):
    """The recipe of `make demo`, both tasks and all its memories, at one epoch of a few steps."""
    recipe = yaml.safe_load((Path(__file__).parents[1] / "recipes/demo.yaml").read_text())
    recipe["seeds"] = 1
    for comparison in recipe["comparisons"]:
        comparison["training"].update(epochs=1, epoch_steps=2)
        comparison["hidden_sizes"] = [6]
        if comparison["task"]["name"] == "retrieval":
            comparison["task"]["options"].update(train=64, validation=32, test=32)
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump(recipe))
    done = remanence("compare", "demo.yaml", "--output", "runs/demo", "--overwrite")
    for name in ("fast_weights", "irnn", "lstm", "gru", "retrieval", "digits"):
        assert name in done.stdout
    page = (tmp_path / "runs/demo/report.html").read_text()
    assert recipe["title"] in page
    assert list((tmp_path / "runs/demo").glob("*.png"))


def test_compare_on_a_task_with_json(remanence):
    done = remanence(
        "compare", "retrieval", "--layers", "elman,gru", "--seeds", 2, "--hidden-sizes", "4", *SMALL, "--json"
    )
    text = json.dumps(json.loads(done.stdout))
    assert "elman" in text
    assert "gru" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "retrieval", "--layer", "lsmt"], "no layer is called 'lsmt'; did you mean lstm"),
        (["train", "retreival", "--layer", "lstm"], "no task is called 'retreival'; did you mean retrieval"),
        (
            ["train", "retrieval", "--layer", "lstm", "--hidden-size", "-3"],
            "layer.hidden_size: input should be",
        ),
        (["train", "retrieval", "--layer", "nowhere.at_all:Thing"], "could be imported from"),
        (["train", "retrieval", "--layer", "lstm", "--set", "training.epoch=3"], "training.epoch: extra"),
        (["train", "retrieval", "--layer", "lstm", "--set", "layer.options.decay=3"], "layer 'lstm'"),
        (["train", "retrieval", "--layer", "lstm", "--set", "task.options.pairs=99"], "pairs must be between 1 and 26"),
        (["compare", "retrieval"], "needs --layers"),
        (["compare", "none.yaml"], "cannot read the recipe none.yaml"),
        (["compare", "retrieval", "--layers", "lstm", "--seeds", "0"], "seeds: input should be greater than 0"),
        (["report", "nothing-here"], "nothing-here"),
        (["list", "--task", "digit"], "did you mean digits"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["remanence", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert not list(tmp_path.iterdir())
    assert error.startswith("Error: ")
    assert error.count("\n") == 1


def test_unknown_options_are_usage_errors(remanence):
    assert "No such option" in remanence("train", "retrieval", "--layer", "lstm", "--lr", "1", code=2).stderr


def test_divergence_is_exit_code_1(remanence):
    blow_up = ["--set", "training.learning_rate=1e30", "--set", "training.clip=0", "--set", "training.batch_size=8"]
    error = remanence("train", "retrieval", "--layer", "elman", *SMALL, *blow_up, code=1).stderr
    assert "loss is nan at step" in error
    assert "learning_rate" in error


def test_debug_shows_the_traceback():
    command = [sys.executable, "-m", "remanence", "--debug", "train", "retrieval", "--layer", "lsmt"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("command", ["train", "compare"])
def test_ctrl_c_says_how_to_go_on(tmp_path, command):
    layer = {"train": ["--layer", "elman"], "compare": ["--layers", "elman,gru"]}[command]
    arguments = [command, "retrieval", *layer, "--set", "training.epochs=1000", "--output", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "remanence", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("metrics.csv")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"the same command goes on where it stopped" in error
    assert b"Traceback" not in error


def test_the_shell_completes_names():
    environment = {
        **os.environ,
        "_REMANENCE_COMPLETE": "complete_bash",
        "COMP_WORDS": "remanence train re",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "remanence")], env=environment, capture_output=True, text=True
    )
    assert "retrieval" in done.stdout
