"""Compiled kernels on disk: found again, by several processes at once, whatever state the directory is in."""

import multiprocessing
import os
import subprocess
import sys

import pytest
import torch

from remanence import caches
from remanence._kernels import cache, kernel
from remanence.ops.scan import cpu_source
from remanence.ops.scan.trace import TracedStep


def step(state, inputs, params):
    return (torch.tanh(0.75 * state[0] + inputs[0]),)


@pytest.fixture
def source():
    return cpu_source.forward(TracedStep(step, (1, 1, 0), 2, 3, torch.float32))


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
        assert kernel.build(source, 32, 8).address
    assert len(compilations) == 1
    assert len(list(directory.iterdir())) == 1
    kernel.build(source, 64, 8)
    assert len(compilations) == 2


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-5] + b"12345"])
def test_damaged_file_is_compiled_again(source, directory, compilations, damage):
    kernel.build(source, 32, 8)
    (file,) = directory.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    kernel.build(source, 32, 8)
    assert len(compilations) == 2
    kernel.build(source, 32, 8)
    assert len(compilations) == 2


def test_directory_that_cannot_be_written(source, directory, compilations):
    cache._warn.cache_clear()
    directory.parent.joinpath("kernels").write_text("a file where the directory should be")
    with pytest.warns(UserWarning, match="kernels is not a folder itself"):
        assert kernel.build(source, 32, 8).address
    assert kernel.build(source, 32, 8).address
    assert len(compilations) == 2


def test_place(monkeypatch, tmp_path):
    monkeypatch.delenv("REMANENCE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert caches.directory() == tmp_path / "remanence"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches.directory() == tmp_path / ".cache" / "remanence"


def build_and_exit(source):
    os._exit(0 if kernel.build(source, 32, 8).address else 1)


def test_two_processes_at_once(source, directory):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=build_and_exit, args=(source,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=120)
    assert [child.exitcode for child in children] == [0, 0]
    assert [file.suffix for file in directory.iterdir()] == [".o"]
    assert cache.load(kernel.cache_key(source, 32, 8)) is not None


SCRIPT = """
import sys, torch
from remanence._kernels import kernel
from remanence.ops.scan import cpu_source
from remanence.ops.scan.trace import TracedStep
def step(state, inputs, params):
    return (torch.tanh(0.75 * state[0] + inputs[0]),)
source = cpu_source.forward(TracedStep(step, (1, 1, 0), 2, 3, torch.float32))
kernel._compile = None
print(bool(kernel.build(source, 32, 8).address), "numba" in sys.modules)
"""


def test_another_process_loads_it_without_the_compiler(source, directory):
    kernel.build(source, 32, 8)
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["True", "False"]
    assert len(list(directory.iterdir())) == 1
