"""Compiled kernels on disk: found again, by several processes at once, whatever state the directory is in."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from remanence.data import store
from remanence.scan import cache, kernel, numba_source
from remanence.scan.trace import TracedStep


def step(state, inputs, params):
    return (torch.tanh(0.75 * state[0] + inputs[0]),)


@pytest.fixture
def source():
    return numba_source.forward(TracedStep(step, (1, 1, 0), 2, 3, torch.float32))


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("REMANENCE_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


@pytest.fixture
def compilations(monkeypatch):
    """How often something was compiled."""
    counted = []
    compile_ = kernel._compile
    monkeypatch.setattr(kernel, "_compile", lambda *args: counted.append(1) or compile_(*args))
    return counted


def test_compiled_once(source, directory, compilations):
    for _ in range(3):
        assert kernel.build(source, 32).address
    assert len(compilations) == 1
    assert len(list(directory.iterdir())) == 1
    kernel.build(source, 64)
    assert len(compilations) == 2


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-5] + b"12345"])
def test_damaged_file_is_compiled_again(source, directory, compilations, damage):
    kernel.build(source, 32)
    (file,) = directory.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    kernel.build(source, 32)
    assert len(compilations) == 2
    kernel.build(source, 32)
    assert len(compilations) == 2


def test_directory_that_cannot_be_written(source, directory, compilations):
    directory.parent.joinpath("kernels").write_text("a file where the directory should be")
    for _ in range(2):
        assert kernel.build(source, 32).address
    assert len(compilations) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_directory_that_is_read_only(source, directory, compilations):
    directory.mkdir()
    directory.chmod(0o500)
    assert kernel.build(source, 32).address
    assert len(compilations) == 1


def test_place(monkeypatch, tmp_path):
    monkeypatch.delenv("REMANENCE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "remanence"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.directory() == tmp_path / ".cache" / "remanence"


def test_a_relative_place_is_ignored(monkeypatch, tmp_path):
    monkeypatch.delenv("REMANENCE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.directory() == tmp_path / ".cache" / "remanence"


@pytest.mark.skipif(os.name != "posix", reason="who owns a file is a matter of POSIX")
class TestOthers:
    """Machine code is taken from nobody else."""

    @pytest.fixture(autouse=True)
    def built(self, source, directory, monkeypatch):
        cache._say_once.cache_clear()
        kernel.build(source, 32)
        (self.file,) = directory.iterdir()
        self.parts = kernel.identity(source, 32)
        assert cache.load(self.parts) is not None

    def refused(self):
        with pytest.warns(UserWarning, match="compiled kernels are not taken from .*others can write it"):
            return cache.load(self.parts) is None

    def test_a_folder_that_others_can_write(self, directory):
        for mode in (0o777, 0o770, 0o702):
            directory.chmod(mode)
            cache._say_once.cache_clear()
            assert self.refused()

    def test_a_file_that_others_can_write(self):
        self.file.chmod(0o666)
        assert self.refused()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    def test_what_belongs_to_another_user(self, directory):
        os.chown(self.file, 12345, -1)
        assert self.refused()
        os.chown(self.file, 0, -1)
        os.chown(directory, 12345, -1)
        assert self.refused()

    def test_a_link_is_not_followed(self, directory):
        elsewhere = directory.with_name("elsewhere.o")
        self.file.rename(elsewhere)
        self.file.symlink_to(elsewhere)
        assert cache.load(self.parts) is None

    def test_the_code_of_another_kernel(self, source, directory):
        kernel.build(source, 64)
        (other,) = set(directory.iterdir()) - {self.file}
        other.replace(self.file)
        assert cache.load(self.parts) is None

    @pytest.mark.parametrize("code", [b"", b"no object", b"\x7fEL", b"MZ\x90"])
    def test_a_right_digest_over_no_object(self, code):
        cache.save(self.parts, code)
        assert cache.load(self.parts) is None

    def test_whatever_the_umask_the_folder_is_the_users_own(self, monkeypatch, tmp_path):
        monkeypatch.delenv("REMANENCE_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
        before = os.umask(0)
        try:
            cache.save(self.parts, b"\x7fELF")
            place = tmp_path / "home/remanence"
            assert place.stat().st_mode & 0o777 == 0o700
            assert cache.load(self.parts) == b"\x7fELF"
            place.chmod(0o777)  # as an earlier version made it
            cache.save(self.parts, b"\x7fELF")
            assert place.stat().st_mode & 0o777 == 0o700
        finally:
            os.umask(before)


def test_without_a_home_nothing_is_kept(source, compilations, monkeypatch):
    monkeypatch.delenv("REMANENCE_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", homeless)
    for _ in range(2):
        assert kernel.build(source, 32).address
    assert len(compilations) == 2
    monkeypatch.delenv("REMANENCE_DATA_DIR", raising=False)
    with pytest.raises(ValueError, match="set REMANENCE_DATA_DIR"):
        store.directory()


def test_the_key_covers_every_file_of_the_compiler(monkeypatch):
    texts = set(cache._versions())
    for path in Path(cache.__file__).parent.glob("*.py"):
        assert path.read_text() in texts


def build_and_exit(source):
    os._exit(0 if kernel.build(source, 32).address else 1)


def test_two_processes_at_once(source, directory):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=build_and_exit, args=(source,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=120)
    assert [child.exitcode for child in children] == [0, 0]
    assert [file.suffix for file in directory.iterdir()] == [".o"]
    assert cache.load(kernel.identity(source, 32)) is not None


SCRIPT = """
import sys, torch
from remanence.scan import kernel, numba_source
from remanence.scan.trace import TracedStep
def step(state, inputs, params):
    return (torch.tanh(0.75 * state[0] + inputs[0]),)
source = numba_source.forward(TracedStep(step, (1, 1, 0), 2, 3, torch.float32))
print(bool(kernel.build(source, 32).address), "numba" in sys.modules)
"""


def test_another_process_loads_it_without_the_compiler(source, directory):
    kernel.build(source, 32)
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["True", "False"]
    assert len(list(directory.iterdir())) == 1
