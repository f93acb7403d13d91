"""Generators stay compiled for the next process, in a folder that nobody else can write."""

import os
import subprocess
import sys

import numba.core.config
import pytest

from remanence import private
from remanence.tasks import compiled

SCRIPT = """
import numpy as np
from remanence.tasks import expressions
assert expressions.apply(expressions.MAX, np.array([3, 7, 5])) == 7
print(sum(expressions.apply.stats.cache_hits.values()))
"""


@pytest.mark.slow
def test_another_process_compiles_again_only_what_is_damaged(tmp_path):
    environment = {**os.environ, "REMANENCE_CACHE_DIR": str(tmp_path / "cache")}

    def count_hits():
        command = [sys.executable, "-c", SCRIPT]
        return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    assert [count_hits(), count_hits()] == [0, 1]
    (folder,) = (tmp_path / "cache").glob("tasks-*")
    assert folder.stat().st_mode & 0o077 == 0
    for damage in (lambda file: file.read_bytes()[:20], lambda file: b"garbage"):
        files = [*folder.rglob("*.nb*")]
        assert files
        for file in files:
            file.write_bytes(damage(file))
        assert count_hits() == 0


def test_no_folder_of_others(tmp_path, monkeypatch):
    def refuse(folder):
        raise private.NotPrivateError(f"{folder} can be written by others")

    monkeypatch.setenv("REMANENCE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(private, "check", refuse)
    assert compiled._folder.__wrapped__() is None
    monkeypatch.setattr(compiled, "_folder", lambda: None)
    double = compiled.compiled(lambda x: 2 * x)
    assert double(4) == 8


def test_without_a_home_it_is_compiled_all_the_same(monkeypatch):
    monkeypatch.setattr(compiled.caches, "directory", lambda: None)
    assert compiled._folder.__wrapped__() is None


def test_settings_of_the_user_stay():
    compiled.compiled(lambda x: x)
    assert "tasks-" not in str(vars(numba.core.config)["CACHE_DIR"])
