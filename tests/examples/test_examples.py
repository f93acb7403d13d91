"""The examples compute what their papers say, are as short as promised, and run as scripts."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def test_minimal_gru():
    layer = load("minimal_gru").MinGRU(3, 4).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    z, candidate = np.split(layer.drive(x).detach().numpy(), 2, -1)
    h = np.zeros((2, 4))
    for t in range(9):
        h = (1 - sigmoid(z[:, t])) * h + sigmoid(z[:, t]) * candidate[:, t]
    np.testing.assert_allclose(layer(x)[1].detach().numpy(), h, rtol=1e-10)


@pytest.mark.parametrize("gates_see_state", [True, False])
def test_bistable(gates_see_state):
    layer = load("bistable").Bistable(3, 4, gates_see_state=gates_see_state).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    drive, for_a, for_c = np.split(layer.drive(x).detach().numpy(), 3, -1)
    w_a, w_c = (w.detach().numpy() for w in layer.gates) if gates_see_state else (0, 0)
    h = np.zeros((2, 4))
    for t in range(9):
        a, c = 1 + np.tanh(for_a[:, t] + w_a * h), sigmoid(for_c[:, t] + w_c * h)
        h = c * h + (1 - c) * np.tanh(drive[:, t] + a * h)
    np.testing.assert_allclose(layer(x)[1].detach().numpy(), h, rtol=1e-10)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_short_and_runnable(path):
    assert len(path.read_text().splitlines()) < 40
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120, check=True)
    assert "output [2, 1000, 8]" in done.stdout
