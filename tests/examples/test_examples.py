"""The examples compute what their papers say, are as short as promised, and run as scripts."""

import importlib.util
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import Forked

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


def draw(name, **options):
    """A layer of an example, its input, and what it makes of it, with everything in NumPy."""
    torch.manual_seed(0)
    layer = getattr(load(name), CELLS[name])(3, 4, **options).double()
    x = torch.randn(1, 9, 3, dtype=torch.float64)
    drive = layer.drive(x)[0].detach().numpy()
    return layer, drive, layer(x)[0][0].detach().numpy()


CELLS = {
    "slstm": "SLSTM",
    "layer_norm_lstm": "LayerNormLSTM",
    "nbrc": "NBRC",
    "delta_rule": "DeltaRule",
    "matrix_rnn": "MatrixRNN",
}


@pytest.mark.parametrize("heads", [1, 2])
def test_slstm(heads):
    """Without the stabiliser, head by head."""
    layer, drive, y = draw("slstm", heads=heads)
    units = 4 // heads
    weight = layer.weight.detach().numpy()
    for head in range(heads):
        h, c, n = np.zeros((3, units))
        for t in range(9):
            z, i, f, o = np.split(drive[t].reshape(heads, -1)[head] + h @ weight[head], 4)
            c, n = sigmoid(f) * c + np.exp(i) * np.tanh(z), sigmoid(f) * n + np.exp(i)
            h = sigmoid(o) * c / n
            np.testing.assert_allclose(y[t].reshape(heads, -1)[head], h, rtol=1e-6)


def test_layer_norm_lstm():
    layer, *_ = draw("layer_norm_lstm")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    x = torch.randn(1, 9, 3, dtype=torch.float64)
    drive, y = (z[0].detach().numpy() for z in (layer.drive(x), layer(x)[0]))
    weight, gain, gain_c, shift_c = (
        p.detach().numpy() for p in (layer.weight, layer.norm.weight, layer.norm_c.weight, layer.norm_c.bias)
    )

    def norm(a):
        return (a - a.mean()) / np.sqrt(a.var() + 1e-5)

    h, c = np.zeros((2, 4))
    for t in range(9):
        i, f, g, o = np.split(drive[t] + norm(h @ weight) * gain, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(norm(c) * gain_c + shift_c)
        np.testing.assert_allclose(y[t], h, rtol=1e-8)


def test_nbrc():
    layer, drive, y = draw("nbrc")
    weight, h = layer.weight.detach().numpy(), np.zeros(4)
    for t in range(9):
        into, for_a, for_c = np.split(drive[t], 3)
        of_a, of_c = np.split(h @ weight, 2)
        c = sigmoid(for_c + of_c)
        h = c * h + (1 - c) * np.tanh(into + (1 + np.tanh(for_a + of_a)) * h)
        np.testing.assert_allclose(y[t], h, rtol=1e-8)


@pytest.mark.parametrize("beta_max", [1.0, 2.0])
def test_delta_rule(beta_max):
    _, drive, y = draw("delta_rule", beta_max=beta_max)
    memory = np.zeros((4, 4))
    for t in range(9):
        q, k, v, beta = np.split(drive[t], [4, 8, 12])
        q, k, beta = q / np.linalg.norm(q), k / np.linalg.norm(k), beta_max * sigmoid(beta)
        memory = memory @ (np.eye(4) - beta * np.outer(k, k)) + beta * np.outer(v, k)
        np.testing.assert_allclose(y[t], memory @ q, rtol=1e-8)


def test_matrix_rnn():
    layer, drive, y = draw("matrix_rnn")
    weight, memory = layer.weight.detach().numpy(), np.zeros((8, 4))
    for t in range(9):
        q, k, v, f = np.split(drive[t], [8, 16, 20])
        new = np.tanh(memory @ weight + np.outer(k / np.linalg.norm(k), v))
        memory = sigmoid(f) * memory + (1 - sigmoid(f)) * new
        np.testing.assert_allclose(y[t], q @ memory, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_cells_with_matrices_are_fused_short_and_run(name, tmp_path):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < 40
    torch.manual_seed(0)
    module = load(name)
    layer, x = getattr(module, CELLS[name])(3, 4), torch.randn(2, 5, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, _ = layer(x)
        y.sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    assert "output [2, 100, 8]" in run(path, folder=tmp_path)


def run(path, *arguments, folder):
    program = f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')"
    done = Forked(program, *arguments, folder=folder).wait(120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["bistable", "minimal_gru"])
def test_cells_are_short_and_run(name, tmp_path):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < 40
    assert "output [2, 1000, 8]" in run(path, folder=tmp_path)


def test_online_learning(tmp_path):
    output = run(EXAMPLES / "online_learning.py", "600", folder=tmp_path)
    assert re.findall(r"(.*): 600 steps", output) == ["carried derivatives", "truncated"]


@pytest.mark.slow
def test_online_learning_learns_what_no_piece_shows():
    torch.manual_seed(0)
    example = load("online_learning")
    errors = {truncate: example.learn(1200, truncate)[-100:] for truncate in (False, True)}
    carried, truncated = (float(np.mean(errors[truncate])) for truncate in (False, True))
    assert carried < 0.1
    assert truncated > 0.25


@pytest.mark.parametrize("w", [0.5, 0.9, -0.9, 1.0, -1.0, 1.1])
def test_linear_feedback(w):
    feedback = load("linear_feedback")
    for seen, formula in feedback.measure(w, 20).values():
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
    output = run(EXAMPLES / "linear_feedback.py", "--figure", tmp_path / "feedback.png", folder=tmp_path)
    assert "180.9 (180.9)" in output
    assert (tmp_path / "feedback.png").stat().st_size > 10_000


def test_what_holds_a_number_is_written_by_its_channel(tmp_path):
    drawn = ["--iterations", "150", "--figure", tmp_path / "figure.png"]
    output = run(EXAMPLES / "written_and_read.py", *drawn, folder=tmp_path)
    said = re.search(r"channel ([\d.e+-]+), by the noise's ([\d.e+-]+)", output)
    assert said is not None
    number, noise = said.groups()
    assert float(number) > 10 * float(noise)
    assert (tmp_path / "figure.png").exists()


def test_a_liquid_network_brings_a_cart_to_its_target():
    control = load("ltc_control")
    control.TICK = 5e-3
    layer = control.train_imitator(iterations=60)
    seen = torch.tensor([[0.5, 0.0], [0.0, 0.5]])
    force, _ = layer(seen[:, None].expand(-1, 8, -1))
    np.testing.assert_allclose(force[:, -1, 0].detach(), seen @ control.GAINS, atol=0.7)
    streaming = nn.Streaming(layer)
    taken, end = control.steer(streaming, streaming.initial_state(1), 500)
    assert len(taken) == 500
    assert (taken > 0).all()
    assert abs(end) < 0.1


def test_control_reports_latencies(tmp_path):
    path = EXAMPLES / "ltc_control.py"
    assert len(path.read_text().splitlines()) < 80
    table = run(path, "--ticks", "20", "--training", "2", folder=tmp_path)
    assert "layer.step" in table
    assert "of 20" in table
