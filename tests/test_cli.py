import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from forked import REMANENCE, Forked

from remanence import nn, tasks
from remanence.cli.app import main
from remanence.cli.names import complete_layer, complete_task

TINY = ["--set", "task.options.train=64", "--set", "task.options.validation=32", "--set", "task.options.test=32"]
SMALL = [*TINY, "--set", "training.epochs=1", "--set", "model.embedding=[8]"]


@pytest.fixture
def remanence(tmp_path):
    """Run the command in a process of its own, in an empty folder."""

    def run(*arguments, code=0):
        environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
        done = Forked(REMANENCE, *arguments, folder=tmp_path, environment=environment).wait()
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def here(monkeypatch, capsys, tmp_path):
    """Run the command in this process, in an empty folder: a new process would import for seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["remanence", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert (end.value.code or 0) == code
        return capsys.readouterr()

    return run


@pytest.fixture
def listing(here):
    return lambda *arguments: here("list", *arguments).out


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


@pytest.mark.slow
def test_the_demo_at_a_tiny_size(here, tmp_path):
    """The recipe of `make demo`, both tasks and all its memories, at one epoch of a few steps."""
    recipe = yaml.safe_load((Path(__file__).parents[1] / "recipes/demo.yaml").read_text())
    recipe["seeds"] = 1
    for comparison in recipe["comparisons"]:
        comparison["training"].update(epochs=1, steps_per_epoch=2)
        comparison["hidden_sizes"] = [6]
        if comparison["task"]["name"] == "retrieval":
            comparison["task"]["options"].update(train=64, validation=32, test=32)
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump(recipe))
    done = here("compare", "demo.yaml", "--output", "runs/demo", "--overwrite")
    for name in ("fast_weights", "irnn", "lstm", "gru", "retrieval", "digits"):
        assert name in done.out
    page = (tmp_path / "runs/demo/report.html").read_text()
    assert recipe["title"] in page
    assert list((tmp_path / "runs/demo").glob("*.png"))


@pytest.mark.slow
def test_compare_on_a_task_with_json(here):
    done = here("compare", "retrieval", "--layers", "elman,gru", "--seeds", 2, "--hidden-sizes", "4", *SMALL, "--json")
    text = json.dumps(json.loads(done.out))
    assert "elman" in text
    assert "gru" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "retrieval", "--layer", "lsmt"], "unknown layer 'lsmt'; did you mean lstm"),
        (["train", "retreival", "--layer", "lstm"], "unknown task 'retreival'; did you mean retrieval"),
        (
            ["train", "retrieval", "--layer", "lstm", "--hidden-size", "-3"],
            "layer.hidden_size: input should be",
        ),
        (["train", "retrieval", "--layer", "nowhere.at_all:Thing"], "could be imported from"),
        (
            ["train", "retrieval", "--layer", "lstm", "--set", "training.epoch=3"],
            "training.epoch: extra inputs are not permitted; did you mean epochs",
        ),
        (["train", "retrieval", "--layer", "lstm", "--set", "layer.options.decay=3"], "layer 'lstm'"),
        (["train", "retrieval", "--layer", "lstm", "--set", "task.options.pairs=99"], "pairs must be between 1 and 26"),
        (["compare", "retrieval"], "needs --layers"),
        (["compare", "none.yaml"], "cannot read the recipe none.yaml"),
        (["compare", "retrieval", "--layers", "lstm", "--seeds", "0"], "seeds: input should be greater than 0"),
        (["compare", "recipes/dem.yaml"], "the package contains"),
        (["sweep", "recipes/none.yaml"], "cannot read the recipe recipes/none.yaml"),
        (["compare", "retrieval", "--layers", "lstm,gur"], "unknown layer 'gur'; did you mean gru"),
        (["train", "retrieval", "--layer", "lstm", "--epochs", "0"], "training.epochs: input should be greater than 0"),
        (["train", "retrieval", "--layer", "lstm", "--lr", "-1"], "training.learning_rate: input should be greater"),
        (["report", "nothing-here"], "nothing-here"),
        (["list", "--task", "digit"], "did you mean digits"),
        (["train", "os:system", "--layer", "gru"], "'os:system' is not a task: expected a subclass of"),
        (["train", "retrieval", "--layer", "os:system"], "'os:system' is not a layer: expected a subclass of"),
        (["train", "retrieval", "--layer", "torch.nn:LSTM"], "is not a remanence.nn.Memory"),
        (["train", "retrieval", "--layer", ":"], "could be imported from"),
        (["train", "retrieval", "--layer", "gru", "--set", "training.epochs=" + "[" * 5000], "is not a value"),
        (["train", "retrieval", "--layer", "gru", "--set", "a" + ".b" * 5000 + "=1"], "too many nested fields"),
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


IMPORTING = """
title: from somebody else
seeds: 1
comparisons:
  - task: {task}
    layers: [{layer}]
    model: {{embedding: [4], readout: []}}
    training: {{epochs: 1}}
"""


@pytest.mark.parametrize(
    ("task", "layer"),
    [
        ('{name: "os:system", options: {command: "touch owned"}}', "gru"),
        ("os:system", "gru"),
        ("retrieval", '{name: "my_own:Delta"}'),
        ("retrieval", '"my_own:Delta"'),
    ],
)
@pytest.mark.parametrize("command", ["compare", "sweep"])
def test_what_a_recipe_names_is_not_imported_without_leave(here, tmp_path, task, layer, command):
    (tmp_path / "my_own.py").write_text("open('owned', 'w')")
    (tmp_path / "recipe.yaml").write_text(IMPORTING.format(task=task, layer=layer))
    error = here(command, "recipe.yaml", code=2).err
    assert "recipe.yaml names" in error
    assert "--allow-import" in error
    assert not (tmp_path / "owned").exists()


def test_with_leave_it_must_still_be_of_the_right_kind(here, tmp_path):
    (tmp_path / "recipe.yaml").write_text(IMPORTING.format(task='"os:system"', layer="gru"))
    assert "'os:system' is not a task" in here("compare", "recipe.yaml", "--allow-import", code=2).err


def test_a_stored_configuration_is_not_imported_without_leave(here, tmp_path):
    (tmp_path / "my_stored.py").write_text(CELLS)
    here("train", "retrieval", "--layer", "my_stored:Delta", "--hidden-size", "4", "--output", "run", *SMALL)
    assert "config.yaml names 'my_stored:Delta'" in here("inspect", "run", code=2).err
    here("report", "run")  # runs nothing
    config = (tmp_path / "run/config.yaml").read_text()
    (tmp_path / "run/config.yaml").write_text(config.replace("my_stored:Delta", "os:system"))
    (tmp_path / "run/result.json").unlink()
    assert "'os:system' is not a layer" in here("inspect", "run", "--allow-import", code=2).err


def test_paths_are_printed_as_they_are(here, tmp_path):
    run = ["train", "retrieval", "--layer", "gru", "--hidden-size", "5", *SMALL]
    (tmp_path / "a[").mkdir()
    for name in ("a[red]c", "a[/b]c"):
        assert f"The run is in {name}" in here(*run, "--output", name).err
        assert f"The page is {name}/report.html" in here("report", name).err


def test_unknown_options_are_usage_errors(here):
    assert "No such option" in here("train", "retrieval", "--layer", "lstm", "--rate", "1", code=2).err


def test_divergence_is_exit_code_1(remanence):
    blow_up = ["--set", "training.learning_rate=1e30", "--set", "training.clip=0", "--set", "training.batch_size=8"]
    error = remanence("train", "retrieval", "--layer", "elman", *SMALL, *blow_up, code=1).stderr
    assert "loss is nan at step" in error
    assert "learning_rate" in error


def test_debug_shows_the_traceback():
    command = [sys.executable, "-m", "remanence", "--debug", "train", "retrieval", "--layer", "lsmt"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("command", "after"), [("train", "metrics.csv"), ("compare", "metrics.csv"), ("compare", "config.yaml")]
)
def test_ctrl_c_says_how_to_go_on(tmp_path, command, after):
    """Also while processes start to train: the configuration is written before."""
    layer = {"train": ["--layer", "elman"], "compare": ["--layers", "elman,gru"]}[command]
    arguments = [command, "retrieval", *layer, *TINY, "--set", "training.epochs=1000", "--output", "out"]
    process = Forked(REMANENCE, *arguments, folder=tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob(after)) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    done = process.wait(60)
    assert done.returncode == 130
    assert "the same command continues where it stopped" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_names_for_the_shell_are_those_there_are():
    assert complete_layer("") == sorted(nn.layers)
    assert complete_task("") == sorted(tasks.tasks)
    assert complete_task("re") == ["recall", "reset_recall", "retrieval"]


HEAVY = ("torch", "numpy", "lightning", "sklearn", "matplotlib", "optuna")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["train", "--help"],
        ["inspect", "nowhere.pt"],
        ["report", "nowhere"],
        ["compare", "nowhere.yaml"],
        ["sweep", "nowhere.yaml"],
        ["preview", "retreival"],
        ["data", "nowhere"],
        ["list", "--task", "nowhere"],
        ["study", "nowhere"],
        ["train", "retrieval", "--layer", "lsmt"],
        ["compare", "retrieval", "--layers", "lsmt"],
        ["compare", "retrieval"],
    ],
    ids=" ".join,
)
def test_what_needs_no_computing_is_answered_before_anything_large_is_loaded(tmp_path, arguments):
    program = f"""
import sys
from remanence.cli.app import main
sys.argv = ["remanence", *{arguments!r}]
try:
    main()
finally:
    sys.stderr.write(" ".join(sorted({{*{HEAVY!r}}} & {{*sys.modules}})))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.rpartition("\n")[2] == ""
    assert "Traceback" not in done.stderr


def test_a_tab_loads_nothing_large(tmp_path):
    environment = {**os.environ, "_REMANENCE_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    program = f"""
import atexit, sys
sys.argv = ["remanence"]
atexit.register(lambda: sys.stderr.write(" ".join(sorted({{*{HEAVY!r}}} & {{*sys.modules}}))))
from remanence.cli.app import main
main()
"""
    for words, name in (
        ("remanence train re", "retrieval"),
        ("remanence preview mn", "mnist"),
        ("remanence study ho", "holding"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program], env={**environment, "COMP_WORDS": words}, capture_output=True, text=True
        )
        assert name in done.stdout
        assert done.stderr == ""


CELLS = """
from torch import nn
from remanence.nn import Memory
from remanence.tasks import Retrieval

class Delta(Memory):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.drive = nn.Linear(input_size, hidden_size)

    def _advance(self, x_t, state):
        h = 0.9 * state + self.drive(x_t)
        return h, h

class Mine(Retrieval):
    pass
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "retrieval", "--layer", "my_cells:Delta", "--output", "run", *SMALL],
        ["train", "my_cells:Mine", "--layer", "gru", "--output", "run", *SMALL],
        ["compare", "retrieval", "--layers", "my_cells:Delta", "--seeds", "1", "--output", "run", *SMALL],
        ["preview", "my_cells:Mine"],
        ["list", "--task", "my_cells:Mine"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_what_lies_in_the_current_folder_can_be_named(tmp_path, arguments):
    (tmp_path / "my_cells.py").write_text(CELLS)
    done = Forked(REMANENCE, *arguments, folder=tmp_path).wait()
    assert done.returncode == 0, done.stderr


def test_what_lies_in_the_current_folder_is_found_by_the_installed_command(tmp_path):
    """Where the first entry of sys.path is the command's folder, not the current one."""
    (tmp_path / "my_cells.py").write_text(CELLS)
    command = [os.path.join(os.path.dirname(sys.executable), "remanence"), "list", "--task", "my_cells:Mine"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_recipes_of_the_package_are_found_from_any_folder(here, tmp_path):
    done = here(
        *("compare", "recipes/demo.yaml", "--layers", "elman", "--hidden-sizes", "4", "--output", "out"),
        *("--epochs", "1", "--lr", "0.002", "--set", "seeds=1", "--set", "comparisons.0=null"),
        code=2,
    )
    assert "comparisons" in done.err  # the file was found and read
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/demo.yaml").write_text("title: my own")
    assert "comparisons: field required" in here("compare", "recipes/demo.yaml", code=2).err


def test_short_forms_are_the_fields_and_more_epochs_go_on(here, tmp_path):
    run = ["train", "retrieval", "--layer", "gru", "--hidden-size", "5", *TINY, "--set", "model.embedding=[8]"]
    here(*run, "--output", "run", "--epochs", 2, "--lr", "1e-5")
    training = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["training"]
    assert (training["epochs"], training["learning_rate"]) == (2, 1e-5)
    here(*run, "--output", "run", "--epochs", 3, "--lr", "1e-5")  # more of the same goes on
    assert len((tmp_path / "run/metrics.csv").read_text().splitlines()) == 4
    refused = here(*run, "--output", "run", "--epochs", 3, "--lr", "1e-4", code=2)
    assert "a different training" in refused.err


@pytest.mark.parametrize("command", ["train", "compare"])
def test_where_memory_ends_the_sizes_are_named(remanence, tmp_path, command):
    layer = {"train": ["--layer", "gru", "--hidden-size"], "compare": ["--layers", "gru", "--hidden-sizes"]}[command]
    error = remanence(command, "retrieval", *layer, "4000000", "--output", "out", *SMALL, code=1).stderr
    assert "out of memory: gru with 4,000,000 units on retrieval" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("config.yaml"))


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
