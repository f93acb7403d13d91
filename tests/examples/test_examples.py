"""The examples compute what their papers say, are as short as promised, and run as scripts."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from remanence import nn

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
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


def run(path, *arguments):
    done = subprocess.run([sys.executable, path, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.parametrize("name", ["bistable", "minimal_gru"])
def test_cells_are_short_and_run(name):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < 40
    assert "output [2, 1000, 8]" in run(path)


@pytest.mark.parametrize("w", [0.5, 0.9, -0.9, 1.0, -1.0, 1.1])
def test_linear_feedback(w):
    feedback = load("linear_feedback")
    for seen, formula in feedback.measured(w, 20).values():
        assert seen == pytest.approx(formula, abs=1e-12)
    y, literal = 0.0, []
    for _ in range(40):
        y = w * (1 + y)
        literal.append(y)
    np.testing.assert_allclose(feedback.answer(w, 40), literal, rtol=1e-12, atol=1e-12)
    stable = "globally asymptotically" if abs(w) < 1 else "uniformly"
    assert feedback.kind(w) == ("unstable" if abs(w) > 1 else f"{stable} stable")
    moves = np.diff(literal)
    np.testing.assert_allclose(moves[1:] / moves[:-1], w, rtol=1e-3)  # exponentially less, the same, or more


def test_linear_feedback_draws(tmp_path):
    output = run(EXAMPLES / "linear_feedback.py", "--figure", tmp_path / "feedback.png")
    assert "180.9 (180.9)" in output
    assert (tmp_path / "feedback.png").stat().st_size > 10_000


def test_what_holds_a_number_is_written_by_its_channel(tmp_path):
    output = run(EXAMPLES / "written_and_read.py", "--iterations", "150", "--figure", tmp_path / "figure.png")
    said = re.search(r"channel ([\d.e+-]+), by the noise's ([\d.e+-]+)", output)
    assert said is not None
    number, noise = said.groups()
    assert float(number) > 10 * float(noise)
    assert (tmp_path / "figure.png").exists()


def test_a_liquid_network_brings_a_cart_to_its_target():
    control = load("ltc_control")
    control.TICK = 5e-3
    layer = control.imitator(iterations=60)
    seen = torch.tensor([[0.5, 0.0], [0.0, 0.5]])
    force, _ = layer(seen[:, None].expand(-1, 8, -1))
    np.testing.assert_allclose(force[:, -1, 0].detach(), seen @ control.GAINS, atol=0.7)
    streaming = nn.Streaming(layer)
    taken, end = control.steer(streaming, streaming.initial_state(1), 500)
    assert len(taken) == 500
    assert (taken > 0).all()
    assert abs(end) < 0.1


def test_control_reports_latencies():
    path = EXAMPLES / "ltc_control.py"
    assert len(path.read_text().splitlines()) < 80
    table = run(path, "--ticks", "20", "--training", "2")
    assert "layer.step" in table
    assert "of 20" in table
