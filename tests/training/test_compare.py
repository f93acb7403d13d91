import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from forked import REMANENCE, Forked

from remanence.training import LayerConfig, compare, comparison, plan

TINY = {"train": 64, "validation": 32, "test": 32}


def test_folders_have_readable_names_and_never_collide(tmp_path, make_config):
    plain, long, other = make_config(), make_config(epochs=9), make_config(layer="gru", seed=3)
    folders = [folder.name for folder in plan([plain, long, other], tmp_path)]
    assert folders[2] == "retrieval-gru-6-seed3"
    assert all(name.startswith("retrieval-elman-6-seed0-") for name in folders[:2])
    assert len(set(folders)) == 3


def test_runs_side_by_side_and_again(tmp_path, make_config, monkeypatch):
    runs = plan([make_config(), make_config(seed=1), make_config(layer="gru")], tmp_path)
    messages = []
    results = compare(runs, jobs=2, tell=messages.append)
    assert [(result.layer, result.seed) for result in results.values()] == [("elman", 0), ("elman", 1), ("gru", 0)]
    assert all(result.test_metric is not None for result in results.values())
    assert {folder for folder, *_ in messages} == set(runs)
    assert any(done == total for _, done, total, _ in messages)
    messages.clear()
    monkeypatch.setattr(comparison, "start_server", lambda: pytest.fail("a process was started for nothing"))
    assert compare(runs, tell=messages.append) == results
    assert not messages


def test_a_run_that_diverges_does_not_stop_the_others(tmp_path, make_config):
    runs = plan([make_config(layer="irnn", learning_rate=1e30, clip=0), make_config(layer="gru")], tmp_path)
    diverged, fine = compare(runs).values()
    assert diverged.failure is not None
    assert "updates were too large" in diverged.failure
    assert diverged.test_metric is None
    assert fine.failure is None


def test_nothing_starts_if_one_configuration_is_wrong(tmp_path, make_config):
    wrong = make_config().model_copy(update={"layer": LayerConfig(name="lsmt", hidden_size=4)})
    with pytest.raises(ValueError, match="did you mean lstm"):
        compare(plan([make_config(), wrong], tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc"), reason="looks for processes in /proc")
def test_workers_end_with_their_killed_parent(tmp_path):
    recipe = {
        "title": "long",
        "seeds": 2,
        "comparisons": [
            {"task": {"name": "retrieval", "options": TINY}, "layers": ["elman"], "training": {"epochs": 1000}}
        ],
    }
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(recipe))
    process = Forked(REMANENCE, "compare", "long.yaml", "--jobs", "2", "--output", "out", folder=tmp_path)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("out/*/metrics.csv"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait().returncode == -signal.SIGKILL
    while family(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not family(process.pid)


def family(session):
    """Processes of a session."""
    members = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                members.append(int(entry))
    return members
