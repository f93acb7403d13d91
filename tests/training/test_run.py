import csv
import json
import os
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from forked import Forked

from remanence.errors import DivergenceError, RunError
from remanence.locks import lock_folder
from remanence.runs.claims import claim
from remanence.runs.folder import write_checkpoint
from remanence.training import Experiment, RunConfig, TrainingConfig, compare, peak, train
from remanence.training.recorder import find_stop_reason

TRAIN_IN_A_PROCESS = """
import sys, json, pathlib
from remanence.training import RunConfig, train
train(RunConfig.model_validate_json(sys.argv[1]), pathlib.Path(sys.argv[2]))
"""


def metrics(folder):
    """The record without the clock."""
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def outcome(folder):
    result = json.loads((folder / "result.json").read_text())
    return {name: value for name, value in result.items() if name not in ("seconds", "memory")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, make_config):
    """A finished run; copy it before you change it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(make_config(), folder)
    return folder


def test_a_run_leaves_what_repeats_it(finished, make_config):
    result = train(make_config(), finished)
    assert RunConfig.model_validate(yaml.safe_load((finished / "config.yaml").read_text())) == make_config()
    assert [int(row["epoch"]) for row in metrics(finished)] == [1, 2]
    assert result.steps == 8
    assert result.stopped == "budget"
    assert result.failure is None
    assert result.test_metric is not None
    assert 0 <= result.test_metric <= 1
    assert result.chance == 0.9
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "metrics.csv",
        "result.json",
    ]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(finished, tmp_path, make_config):
    for name, seed in (("same", 0), ("other", 1)):
        train(make_config(seed=seed), tmp_path / name)
    assert metrics(tmp_path / "same") == metrics(finished)
    assert metrics(tmp_path / "other") != metrics(finished)


def test_it_learns(tmp_path, make_config):
    result = train(make_config(layer="lstm", epochs=30, learning_rate=0.03, stop_at_metric=0.3), tmp_path / "run")
    assert result.validation_metric is not None
    assert result.validation_metric < 0.6
    train_losses = [float(row["train_loss"]) for row in metrics(tmp_path / "run")]
    assert train_losses[-1] < 0.5 * train_losses[0]


def test_the_test_is_taken_at_the_best_validation(tmp_path, make_config):
    # A learning rate that breaks the model after its first epoch.
    config = make_config(layer="lstm", epochs=4, learning_rate=0.5, clip=0)
    result = train(config, tmp_path / "run")
    rows = metrics(tmp_path / "run")
    assert result.validation_metric == pytest.approx(min(float(row["validation_metric"]) for row in rows), rel=1e-5)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_result(tmp_path, make_config):
    config = make_config(layer="fast_weights", epochs=40)
    train(config, tmp_path / "whole")
    process = Forked(TRAIN_IN_A_PROCESS, config.model_dump_json(), tmp_path / "killed", folder=tmp_path)
    record = tmp_path / "killed/metrics.csv"
    deadline = time.monotonic() + 120
    while not (record.exists() and len(record.read_text().splitlines()) > 3) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed/result.json").exists()
    train(config, tmp_path / "killed")
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_a_run_killed_between_training_and_testing_only_tests(finished, tmp_path, make_config, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "result.json").unlink()
    monkeypatch.setattr("remanence.training.Experiment.training_step", lambda *_: pytest.fail("trained again"))
    train(make_config(), folder)
    assert outcome(folder) == outcome(finished)


def test_a_finished_run_is_not_trained_again(finished, make_config, monkeypatch):
    monkeypatch.setattr("remanence.training.run.make_trainer", lambda *_: pytest.fail("trained again"))
    assert vars(train(make_config(), finished)) == json.loads((finished / "result.json").read_text())


def test_a_folder_of_another_run_is_refused_unless_overwritten(finished, tmp_path, make_config):
    shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(ValueError, match="a different seed and training: choose another --output, or pass --overwrite"):
        train(make_config(seed=1, epochs=1), tmp_path / "run")
    assert train(make_config(seed=1, epochs=1), tmp_path / "run", overwrite=True).seed == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_never_touched(tmp_path, make_config, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is not a Remanence run"):
        train(make_config(), tmp_path, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def record_of(folder):
    return (folder / "config.yaml").read_bytes(), *(path.read_bytes() for path in sorted(folder.glob("metrics.csv")))


def test_overwriting_removes_the_files_of_a_run_and_nothing_else(finished, tmp_path, make_config):
    folder = shutil.copytree(finished, tmp_path / "run")
    for name in ("notes.txt", "src/work.py", "checkpoints/mine.pt", "report.html"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("precious")
    train(make_config(seed=1, epochs=1), folder, overwrite=True)
    for name in ("notes.txt", "src/work.py", "checkpoints/mine.pt", "report.html"):
        assert (folder / name).read_text() == "precious"
    assert outcome(folder)["seed"] == 1


@pytest.mark.parametrize("content", ["a: 1\n", "task: retrieval\n", "[", ""])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_run_is_not_overwritten(tmp_path, make_config, content, overwrite):
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src/work.py").write_text("precious")
    (folder / "config.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"config\.yaml"):
        train(make_config(), folder, overwrite=overwrite)
    assert (folder / "src/work.py").read_text() == "precious"
    assert (folder / "config.yaml").read_text() == content


@pytest.mark.parametrize("place", [".", "", "..", "../.."])
def test_the_current_folder_and_those_above_it_are_not_overwritten(finished, tmp_path, make_config, monkeypatch, place):
    folder = shutil.copytree(finished, tmp_path / "run")
    inner = {".": folder, "": folder, "..": folder / "a", "../..": folder / "a/b"}[place]
    inner.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(inner)
    before = record_of(folder)
    with pytest.raises(ValueError, match="the current folder or one above it"):
        train(make_config(seed=1), Path(place), overwrite=True)
    assert record_of(folder) == before


def test_what_a_killed_process_left_half_written_does_not_hold_the_folder(tmp_path, make_config):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".config.yaml.1.part").touch()
    train(make_config(epochs=1), folder)
    assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize("layer", ["elman", "fast_weights"])
@pytest.mark.parametrize("lr_schedule", ["none", "rsqrt"])
def test_more_epochs_extend_a_run_to_what_it_would_have_been(tmp_path, make_config, layer, lr_schedule):
    settings = {"layer": layer, "lr_schedule": lr_schedule, "warmup": 3}
    train(make_config(epochs=2, **settings), tmp_path / "extended")
    train(make_config(epochs=5, **settings), tmp_path / "extended")
    train(make_config(epochs=5, **settings), tmp_path / "whole")
    assert metrics(tmp_path / "extended") == metrics(tmp_path / "whole")
    assert outcome(tmp_path / "extended") == outcome(tmp_path / "whole")
    with pytest.raises(ValueError, match="a different training"):
        train(make_config(epochs=4, **settings), tmp_path / "extended")


def test_a_rate_that_fell_to_zero_is_not_extended(tmp_path, make_config):
    train(make_config(epochs=1, lr_schedule="cosine"), tmp_path / "run")
    before = record_of(tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"falls to 0 at epoch 1 \(lr_schedule: cosine\), so more epochs would be another run"
    ):
        train(make_config(epochs=2, lr_schedule="cosine"), tmp_path / "run")
    assert record_of(tmp_path / "run") == before


def test_a_run_that_failed_before_its_first_checkpoint_does_not_hold_its_folder(tmp_path, make_config):
    with pytest.raises(DivergenceError):
        train(make_config(layer="irnn", learning_rate=1e30, clip=0), tmp_path / "run")
    assert train(make_config(layer="irnn", learning_rate=1e-3), tmp_path / "run").failure is None
    (tmp_path / "run/checkpoints/last.ckpt").unlink()  # a user who saves space; the run did not fail
    with pytest.raises(ValueError, match="a different seed"):
        train(make_config(layer="irnn", learning_rate=1e-3, seed=1), tmp_path / "run")


@pytest.mark.parametrize("error", [MemoryError("x"), RuntimeError("[enforce fail] not enough memory")])
def test_memory_that_ends_in_training_is_an_error_with_the_sizes(tmp_path, make_config, monkeypatch, error):
    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Experiment, "training_step", fail)
        with pytest.raises(RunError, match="out of memory: elman with 6 units on retrieval, in batches of 16"):
            train(make_config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(make_config(epochs=1), tmp_path / "run")


def test_other_errors_of_the_layer_keep_their_traceback(tmp_path, make_config, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Experiment, "training_step", fail)
    with pytest.raises(RuntimeError, match="a bug") as raised:
        train(make_config(), tmp_path / "run")
    assert not isinstance(raised.value, RunError)


def test_a_run_that_another_process_trains_is_left_alone(finished, tmp_path, make_config):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "result.json").unlink()
    before = record_of(folder)
    with lock_folder(folder):  # by a second descriptor: as another process would
        for overwrite in (False, True):
            with pytest.raises(RunError, match=rf"is being trained by process {os.getpid()} on "):
                train(make_config(seed=1), folder, overwrite=overwrite)
            with pytest.raises(RunError, match="is being trained by"):
                compare({folder: make_config()}, overwrite=overwrite)
    assert record_of(folder) == before


def test_a_finished_run_is_read_where_nothing_can_be_written(finished, tmp_path, make_config, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr("remanence.training.run.lock_folder", lambda *_: pytest.fail("locked"))
    train(make_config(), folder)


@pytest.mark.parametrize("when", [1, 6])
def test_a_run_whose_folder_is_removed_stops_and_does_not_come_back(tmp_path, make_config, monkeypatch, when):
    monkeypatch.setattr("remanence.training.recorder.PROGRESS_INTERVAL", -1.0)  # told at every step
    folder = tmp_path / "run"

    def tell(done, total, metric):
        if done == when and folder.exists():
            shutil.rmtree(folder)

    with pytest.raises(RunError, match="run was removed during its run"):
        train(make_config(epochs=5), folder, progress=tell)
    assert not folder.exists()


def test_where_the_next_run_cannot_begin_the_old_one_comes_back(finished, tmp_path, make_config, limit_files):
    folder = shutil.copytree(finished, tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with lock_folder(folder):
        limit_files(100)
        with pytest.raises(OSError, match="File too large"):
            claim(folder, make_config(seed=1), overwrite=True)
        limit_files(resource.RLIM_INFINITY)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_wherever_a_checkpoint_is_cut_off_the_file_is_named(finished, tmp_path, make_config):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "result.json").unlink()
    content = (finished / "checkpoints/last.ckpt").read_bytes()
    for place in range(0, len(content) - 1, len(content) // 25):
        (folder / "checkpoints/last.ckpt").write_bytes(content[:place])
        with pytest.raises(RunError, match=r"last\.ckpt is missing or damaged: remove the folder"):
            train(make_config(), folder)


@pytest.mark.parametrize("file", ["last", "best"])
@pytest.mark.parametrize("other", ["last", "best", "size", "layer", "seed"])
def test_a_checkpoint_of_another_run_or_kind_is_named(finished, tmp_path, make_config, file, other):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "result.json").unlink()
    if other in ("last", "best"):
        source = finished / f"checkpoints/{other}.ckpt"
    else:
        config = make_config(**{"layer": {"layer": "gru"}, "seed": {"seed": 1}}.get(other, {}))
        if other == "size":
            config = config.model_copy(update={"layer": config.layer.model_copy(update={"hidden_size": 7})})
        train(config, tmp_path / "other")
        source = tmp_path / f"other/checkpoints/{file}.ckpt"
    shutil.copy(source, folder / f"checkpoints/{file}.ckpt")
    if (file, other) in {("last", "last"), ("best", "best"), ("best", "seed")}:  # right, or not to be told
        train(make_config(), folder)
        return
    with pytest.raises(RunError, match=rf"{file}\.ckpt .*: remove the folder") as error:
        train(make_config(), folder)
    assert "\n" not in str(error.value)


class Owned:
    def __reduce__(self):
        return (print, ("it ran",))


def test_nothing_in_a_checkpoint_is_run(finished, tmp_path, make_config, capsys):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "result.json").unlink()
    last = torch.load(finished / "checkpoints/last.ckpt", weights_only=True)
    torch.save({**last, "loops": Owned()}, folder / "checkpoints/last.ckpt")
    with pytest.raises(RunError, match=r"last\.ckpt is missing or damaged"):
        train(make_config(), folder)
    assert "it ran" not in capsys.readouterr().out


def test_a_nan_loss_stops_with_step_and_cause(tmp_path, make_config):
    with pytest.raises(
        DivergenceError, match=r"loss is nan at step \d+ \(epoch 1\); likely the updates were too large .*learning_rate"
    ):
        train(make_config(layer="irnn", learning_rate=1e30, clip=0), tmp_path / "run")
    assert "nan" in outcome(tmp_path / "run")["failure"]


@pytest.fixture
def limit_files():
    """Set the largest size of a file, which stands in for the end of the disk: a write fails in the same way."""
    soft, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, most))


def test_a_full_disk_is_an_error_that_names_the_file_and_the_last_checkpoint_stays(
    tmp_path, make_config, monkeypatch, limit_files
):
    config, folder = make_config(epochs=4), tmp_path / "run"
    monkeypatch.setattr("remanence.training.recorder.PROGRESS_INTERVAL", -1.0)  # told at every step
    with pytest.raises(OSError, match=r"File too large: .*\.ckpt"):
        train(config, folder, progress=lambda done, *_: limit_files(2048) if done > 8 else None)  # after two epochs
    limit_files(resource.RLIM_INFINITY)
    assert len(metrics(folder)) == 2
    assert not list(folder.rglob("*.part"))
    train(config, folder)
    train(config, tmp_path / "whole")
    assert metrics(folder) == metrics(tmp_path / "whole")
    assert outcome(folder) == outcome(tmp_path / "whole")


def test_wherever_the_disk_ends_it_is_an_os_error(tmp_path, limit_files):
    content = {"weights": [torch.randn(20, 20) for _ in range(25)], "text": "x" * 3000}
    path = tmp_path / "checkpoint"
    write_checkpoint(path, content)
    for size in (*range(0, 1000, 50), *range(1000, path.stat().st_size, 1000)):
        limit_files(size)
        with pytest.raises(OSError, match="File too large"):
            write_checkpoint(path, content)
    limit_files(resource.RLIM_INFINITY)
    assert torch.load(path)["text"] == content["text"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("checkpoints/last.ckpt", b"", "last.ckpt is missing or damaged: remove the folder .*run, and"),
        ("checkpoints/last.ckpt", b"PK\x03\x04 cut off", "last.ckpt is missing or damaged"),
        ("checkpoints/best.ckpt", b"junk", "best.ckpt is missing or damaged"),
        ("checkpoints/best.ckpt", None, "best.ckpt is missing or damaged"),
        ("result.json", b'{"task": ', "result.json is damaged: remove it, and the same command tests the run again"),
        ("result.json", b'{"task": "retrieval"}', "result.json is damaged: remove it"),
        ("config.yaml", b"task: [", "config.yaml, line 1: "),
        ("config.yaml", b"task", "config.yaml is damaged, or is not the configuration of a run: .*remove the folder"),
    ],
)
def test_a_damaged_file_is_named_and_its_remedy_works(finished, tmp_path, make_config, file, content, message):
    folder = shutil.copytree(finished, tmp_path / "run")
    if file != "result.json":
        (folder / "result.json").unlink()
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises((RunError, ValueError), match=message) as error:
        train(make_config(), folder)
    assert "\n" not in str(error.value)
    if "remove it" in str(error.value):
        (folder / file).unlink()
    else:
        shutil.rmtree(folder)
    train(make_config(), folder)
    assert outcome(folder) == outcome(finished)


@pytest.mark.parametrize(
    ("settings", "values", "reason"),
    [
        ({}, [], None),
        ({}, [0.9, 0.8], None),
        ({"epochs": 2}, [0.9, 0.8], "budget"),
        ({"stop_at_metric": 0.1}, [0.5, 0.1], "solved"),
        ({"stop_at_metric": 0.1}, [0.05, 0.2], None),
        ({"patience": 2}, [0.5, 0.6, 0.5], "patience"),
        ({"patience": 2}, [0.5, 0.6, 0.4], None),
        ({"patience": 1, "stop_at_metric": 0.0}, [0.1, 0.0], "solved"),
    ],
)
def test_when_training_stops(settings, values, reason):
    rows = [{"validation_metric": value} for value in values]
    assert find_stop_reason(rows, TrainingConfig(**settings)) == reason


def test_weights_are_kept_from_the_start_on(tmp_path, make_config):
    train(make_config(epochs=4, snapshot_every=2), tmp_path / "run")
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("epoch-*"))
    assert kept == ["epoch-0.ckpt", "epoch-2.ckpt", "epoch-4.ckpt"]
    first, last = (torch.load(tmp_path / "run" / "checkpoints" / name, weights_only=True) for name in kept[::2])
    assert not torch.equal(first["memory.bias"], last["memory.bias"])


def test_frozen_parameters_stay_where_they_start(tmp_path, make_config):
    config = make_config(snapshot_every=2, frozen=("memory.bias",))
    config = config.model_copy(update={"model": config.model.model_copy(update={"initial": {"memory.bias": 0.25}})})
    train(config, tmp_path / "run")
    last = torch.load(tmp_path / "run" / "checkpoints" / "epoch-2.ckpt", weights_only=True)
    assert last["memory.bias"].eq(0.25).all()


@pytest.mark.parametrize("changes", [{"training": {"frozen": ["memory.bais"]}}, {"model": {"initial": {"bias": 0.0}}}])
def test_a_parameter_that_does_not_exist_is_named_with_those_that_do(make_config, changes, tmp_path):
    fields = make_config().model_dump()
    for section, change in changes.items():
        fields[section] |= change
    with pytest.raises(ValueError, match=r"is not a parameter of this model, whose parameters are .*memory\.bias"):
        train(RunConfig.model_validate(fields), tmp_path / "run")


def test_evaluation_takes_a_drawn_share_of_the_samples_the_same_for_every_run(make_config):
    few = [Experiment(make_config(seed=seed, evaluation_samples=20)) for seed in (0, 1)]
    everything = Experiment(make_config())
    batches = [next(iter(experiment.loader("test"))) for experiment in (*few, everything)]
    assert [len(batch.targets) for batch in batches] == [20, 20, 32]
    assert torch.equal(batches[0].inputs, batches[1].inputs)
    rows = {tuple(row) for row in batches[2].inputs.tolist()}
    assert {tuple(row) for row in batches[0].inputs.tolist()} <= rows
    assert not torch.equal(batches[0].inputs, batches[2].inputs[:20])


@pytest.mark.skipif(not peak.CLEAR.exists(), reason="Linux says how much memory a process took")
def test_the_peak_of_the_memory_is_that_of_the_run():
    held = torch.ones(2**26)  # 256 MiB
    peak.forget_peak()
    before = peak.measure_peak_mib()
    del held
    peak.forget_peak()
    after = peak.measure_peak_mib()
    assert before is not None
    assert after is not None
    assert before - after > 200
    torch.ones(2**26).sum()
    again = peak.measure_peak_mib()
    assert again is not None
    assert again - after > 200


@pytest.mark.parametrize("state", ["missing", "forbidden"])
def test_where_the_peak_cannot_be_measured_runs_go_on_without(tmp_path, make_config, monkeypatch, state):
    monkeypatch.setattr(peak, "CLEAR", tmp_path / "no/such" if state == "missing" else tmp_path)
    assert train(make_config(epochs=1), tmp_path / "run").memory is None
    monkeypatch.undo()
    peak.forget_peak()


def test_a_run_of_an_earlier_version_with_fewer_fields_is_the_same_run(finished, tmp_path, make_config):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    del stored["training"]["frozen"], stored["model"]["initial"]
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    assert train(make_config(), folder) == train(make_config(), finished)
