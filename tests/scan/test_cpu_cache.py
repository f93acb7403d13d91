"""Compiled kernels on disk: found again, by several processes at once, whatever state the directory is in."""

import os
import subprocess
import sys

import pytest
import torch

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


SCRIPT = """
import sys, torch
from remanence.scan import scan
def step(state, inputs, params):
    return (torch.tanh(0.25 * state[0] + inputs[0]),)
x, h = torch.ones(2, 3, 4, requires_grad=True), torch.zeros(2, 4)
states, final = scan(step, [x], [h], [], backend="cpu")
states[0].sum().backward()
print("numba" in sys.modules, x.grad.sum().item())
"""


def test_processes_at_once_then_one_without_the_compiler(directory):
    def start():
        return subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)

    printed = [process.communicate()[0].split() for process in [start(), start()]]
    assert [loaded for loaded, _ in printed] == ["True", "True"]
    assert not [file for file in directory.iterdir() if file.suffix != ".o"]
    loaded, total = start().communicate()[0].split()
    assert loaded == "False"
    assert {total, *(other for _, other in printed)} == {total}
