import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from remanence.data import load, load_or_make, report_progress
from remanence.data.store import write_arrays


def stored():
    """The arrays, which are there."""
    store = load("set")
    assert store is not None
    return store


def test_arrays_come_back_as_they_were_written(data_directory):
    pieces = [np.arange(6, dtype=np.int16).reshape(2, 3), np.empty((0, 3), np.int16), np.full((1, 3), 7, np.int16)]
    with write_arrays("set") as writer:
        for piece in pieces:
            writer.append("values", piece)
        writer.append("nothing", np.empty((0, 4), np.uint8))
        writer.facts["of"] = "tests"
        assert writer.count("values") == 3
        assert load("set") is None
    store = stored()
    np.testing.assert_array_equal(store["values"], np.concatenate(pieces))
    assert isinstance(store["values"], np.memmap)
    assert store["nothing"].shape == (0, 4)
    assert store.facts == {"of": "tests"}
    assert "values" in store
    assert "other" not in store


def test_what_is_read_is_never_changed_on_disk():
    with write_arrays("set") as writer:
        writer.append("values", np.zeros(3))
    stored()["values"][:] = 1
    assert not stored()["values"].any()


def half_write(name, replace):
    with write_arrays(name, replace=replace) as writer:
        writer.append("values", np.zeros(3))
        raise RuntimeError("full")


@pytest.mark.parametrize("replace", [False, True])
def test_after_an_error_nothing_half_prepared_stays(data_directory, replace):
    if replace:
        load_or_make("set", lambda writer: writer.append("values", np.ones(2)))
    with pytest.raises(RuntimeError, match="full"):
        half_write("set", replace)
    assert [path.name for path in data_directory.iterdir()] == ["set"] * replace
    if replace:
        assert stored()["values"].all()


def test_pieces_must_fit_together():
    with write_arrays("set") as writer:
        writer.append("values", np.zeros((2, 3)))
        with pytest.raises(ValueError, match="values has rows of"):
            writer.append("values", np.zeros((2, 4)))


def test_a_killed_process_leaves_nothing_for_long(data_directory):
    program = "import numpy, time\nfrom remanence.data.store import write_arrays\nwith write_arrays('set') as writer:\n"
    program += "    writer.append('values', numpy.zeros(9))\n    print('now', flush=True)\n    time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert load("set") is None
    assert len(list(data_directory.iterdir())) == 1
    load_or_make("other", lambda writer: writer.append("values", np.ones(2)))
    assert [path.name for path in data_directory.iterdir()] == ["other"]


def test_the_slower_of_two_writers_leaves_what_the_quicker_made(data_directory):
    with write_arrays("set") as slow:
        slow.append("values", np.zeros(1))
        with write_arrays("set") as quick:
            quick.append("values", np.ones(1))
    assert stored()["values"].all()
    assert [path.name for path in data_directory.iterdir()] == ["set"]


def test_of_many_processes_one_makes_the_arrays(data_directory, tmp_path):
    program = """
import os, sys, time, numpy
from remanence.data import load_or_make
def make(writer):
    open(sys.argv[1], "a").write("x")
    time.sleep(1)
    writer.append("values", numpy.ones(2))
assert load_or_make("set", make)["values"].all()
"""
    arguments = [sys.executable, "-c", program, str(tmp_path / "made")]
    for process in [subprocess.Popen(arguments) for _ in range(3)]:
        assert process.wait() == 0
    assert (tmp_path / "made").read_text() == "x"
    assert [path.name for path in data_directory.iterdir()] == ["set"]


def test_progress_is_told(data_directory):
    told = []

    def make(writer):
        for done in range(3):
            writer.append("values", np.ones(2))
            writer.progress(done + 1, 3)

    with report_progress(lambda done, total: told.append((done, total))):
        load_or_make("set", make)
        load_or_make("set", make)
    load_or_make("other", make)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_damaged_arrays_are_named(data_directory):
    load_or_make("set", lambda writer: writer.append("values", np.ones(2)))
    (data_directory / "set/values").write_bytes(b"short")
    with pytest.raises(ValueError, match="values is damaged: remove the folder"):
        load("set")
    (data_directory / "set/manifest.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged or of another version"):
        load("set")


def test_what_is_prepared_again_replaces_the_old(data_directory):
    load_or_make("set", lambda writer: writer.append("values", np.ones(2)))
    held = stored()["values"]
    with write_arrays("set", replace=True) as writer:
        writer.append("values", np.zeros(5))
    assert len(stored()["values"]) == 5
    assert held.all()


@pytest.mark.parametrize(
    ("winerror", "message"),
    [(5, r"close the programs that read them: '.*/set'"), (None, r"Permission denied: '.*/set'")],
)
def test_arrays_stay_where_the_system_does_not_rename_them(data_directory, monkeypatch, winerror, message):
    load_or_make("set", lambda writer: writer.append("values", np.ones(2)))
    rename = Path.rename

    def refused(path, target):
        if path.name == "set":
            error = PermissionError(13, "Permission denied")
            error.winerror = winerror  # pyright: ignore[reportAttributeAccessIssue]  # Windows says it of what is mapped into memory
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError, match=message), write_arrays("set", replace=True) as writer:
        writer.append("values", np.zeros(5))
    assert stored()["values"].all()
    assert [path.name for path in data_directory.iterdir()] == ["set"]


def test_a_link_in_the_place_of_a_lock_is_not_followed(data_directory):
    data_directory.mkdir()
    precious = data_directory / "precious"
    precious.write_text("years of work")
    (data_directory / ".numbers.lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        load_or_make("numbers", lambda writer: writer.append("a", np.arange(3)))
    assert precious.read_text() == "years of work"
