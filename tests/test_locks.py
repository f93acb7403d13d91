import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from remanence import locks
from remanence.errors import RunError
from remanence.locks import LOCK, lock_folder

AS_ON_WINDOWS = """
import fcntl, sys, types
from remanence import locks

def locking(file, mode, size):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None

locks.fcntl = None
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
"""
"""As :mod:`remanence.locks` finds the system there."""

HOLD = """
import pathlib, sys, time
from remanence.locks import lock_folder
with lock_folder(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["", AS_ON_WINDOWS], ids=["flock", "msvcrt"])
def system(request, monkeypatch):
    """What a process has to run first; this one has."""
    monkeypatch.setattr(locks, "fcntl", locks.fcntl)
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    exec(request.param, {})
    return request.param


@pytest.fixture
def holder(tmp_path, system):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", system + HOLD, tmp_path / "run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_one_process_at_a_time_and_the_lock_dies_with_it(holder, tmp_path):
    with (
        pytest.raises(RunError, match=rf"run is being trained by process {holder.pid} on "),
        lock_folder(tmp_path / "run"),
    ):
        pytest.fail("two processes hold it")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with lock_folder(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


def test_who_waits_is_next(system, tmp_path):
    held, order = threading.Event(), []

    def hold():
        with locks.wait_for_lock(tmp_path / "lock"):
            held.set()
            time.sleep(0.3)
            order.append("first")

    first = threading.Thread(target=hold)
    first.start()
    held.wait(10)
    with locks.wait_for_lock(tmp_path / "lock"):
        order.append("second")
    first.join()
    assert order == ["first", "second"]
    assert not (tmp_path / "lock").exists()


def test_a_folder_stays_unless_it_is_empty(tmp_path):
    with lock_folder(tmp_path / "a/b"):
        assert [path.name for path in (tmp_path / "a/b").iterdir()] == [LOCK]
        (tmp_path / "a/b/file").touch()
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["file"]


def test_a_folder_that_is_gone_or_held_by_another_is_noticed(tmp_path):
    with lock_folder(tmp_path / "run") as lock:
        lock.check()
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(RunError, match="run was removed during its run"):
            lock.check()
        with lock_folder(tmp_path / "run"), pytest.raises(RunError, match="was removed"):
            lock.check()
    with lock_folder(tmp_path / "run") as first:
        first.check()


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"), lock_folder(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "years of work"
