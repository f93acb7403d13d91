"""Gramians along trajectories, of inputs and of outputs."""

import time

import control
import ncps.torch
import ncps.wirings
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from remanence import nn as memories
from remanence.analysis import (
    as_step,
    controllability,
    empirical_controllability,
    empirical_observability,
    hankel_modes,
    observability,
)


class Linear(nn.Module):
    """h <- A h + B x, y = C h + D x of the state before the step, as python-control has it."""

    def __init__(self, A, B, C, D):
        super().__init__()
        self.matrices = [torch.as_tensor(each).double() for each in (A, B, C, D)]
        self.input_size = self.matrices[1].shape[1]

    def initial_state(self, batch):
        return torch.zeros(batch, len(self.matrices[0])).double()

    def forward(self, x, h):
        A, B, C, D = self.matrices
        ys = []
        for x_t in x.unbind(1):
            ys.append(h @ C.T + x_t @ D.T)
            h = h @ A.T + x_t @ B.T
        return torch.stack(ys, 1), h


def random_linear(size=5, inputs=2, outputs=3, radius=0.9):
    A = torch.randn(size, size).double()
    A = radius * A / torch.linalg.eigvals(A).abs().max()
    return Linear(A, torch.randn(size, inputs), torch.randn(outputs, size), torch.randn(outputs, inputs))


def closed_sum(A, B, steps):
    return sum(np.linalg.matrix_power(A, k) @ B @ B.T @ np.linalg.matrix_power(A, k).T for k in range(steps))


TRAJECTORIES = {
    "lstm": lambda: nn.LSTM(3, 4, batch_first=True),
    "gru": lambda: nn.GRU(3, 4, num_layers=2),
    "ncps ltc": lambda: ncps.torch.LTC(3, ncps.wirings.AutoNCP(8, 2)),
    "ncps cfc": lambda: ncps.torch.CfC(3, 4, mixed_memory=True),
} | {
    name: lambda name=name: memories.create(name, input_size=3, hidden_size=4)
    for name in ("cff", "fast_weights", "persistent")
}


def test_gramians_of_a_linear_system_are_the_closed_sums_and_those_of_python_control():
    system = random_linear()
    x = torch.randn(2, 300, 2).double()
    A, B, C, _ = (each.numpy() for each in system.matrices)
    written, read = controllability(system, x), observability(system, x)
    for steps in (1, 4, 40):
        some = controllability(system, x[:, :steps])
        np.testing.assert_allclose(some.gramian[1], closed_sum(A, B, steps), rtol=1e-8, atol=1e-10)
        some = observability(system, x[:, :steps])
        np.testing.assert_allclose(some.gramian[1], closed_sum(A.T, C.T, steps), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(written.gramian[0], control.dlyap(A, B @ B.T), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(read.gramian[0], control.dlyap(A.T, C.T @ C), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(written.spectrum[0].flip(0), np.linalg.eigvalsh(written.gramian[0]), atol=1e-9)


def test_a_system_that_changes_in_time():
    """Product of the Jacobians in the order of time: the input at step 0 passes through A_1 and then A_2."""
    matrices = torch.randn(3, 4, 4).double()
    B = torch.randn(4, 1).double()

    def step(x_t, h):
        return (matrices[x_t[:, 1].long()] @ h[..., None])[..., 0] + x_t[:, :1] @ B.T

    system = as_step(step, state=torch.zeros(1, 4).double(), input_size=2)
    x = torch.tensor([[[0.3, 0], [0.1, 1], [0.7, 2]]]).double()
    columns = torch.cat([matrices[2] @ matrices[1] @ B, matrices[2] @ B, B], 1)
    torch.testing.assert_close(controllability(system, x).gramian[0], columns @ columns.T)
    rows = torch.cat([matrices[0], matrices[1] @ matrices[0], matrices[2] @ matrices[1] @ matrices[0]])
    torch.testing.assert_close(observability(system, x).gramian[0], rows.T @ rows)


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_derivatives_agree_with_simulations(name):
    layer = TRAJECTORIES[name]().double().eval()
    x = torch.randn(2, 6, 3).double()
    for exact, empirical in (
        (controllability, empirical_controllability),
        (observability, empirical_observability),
    ):
        torch.testing.assert_close(exact(layer, x).response, empirical(layer, x).response, atol=1e-6, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(batch=st.integers(1, 3), steps=st.integers(1, 70), inputs=st.integers(1, 4), size=st.integers(1, 5))
def test_shapes(batch, steps, inputs, size):
    layer, x = nn.LSTM(inputs, size, batch_first=True), torch.randn(batch, steps, inputs)
    for found, channels in ((controllability(layer, x), inputs), (observability(layer, x), size)):
        assert found.response.shape == (batch, steps, channels, 2 * size)
        assert found.gramian.shape == (batch, 2 * size, 2 * size)
        assert found.spectrum.shape == (batch, 2 * size)
        assert found.energy.shape == (batch, channels, 2 * size)
        assert (found.rank <= min(2 * size, steps * channels)).all()
        torch.testing.assert_close(found.energy.sum(1), found.gramian.diagonal(dim1=1, dim2=2))


def test_what_no_input_reaches_and_no_output_shows():
    """Three numbers: written and read, written only, read only."""
    A = torch.diag(torch.tensor([0.9, 0.8, 0.7], dtype=torch.float64))
    turn = torch.linalg.qr(torch.randn(3, 3).double()).Q
    B, C = torch.tensor([[1.0], [1], [0]]).double(), torch.tensor([[1.0, 0, 1]]).double()
    system = Linear(turn @ A @ turn.T, turn @ B, C @ turn.T, torch.zeros(1, 1))
    x = torch.randn(1, 30, 1).double()
    written, read = controllability(system, x), observability(system, x)
    assert written.rank.tolist() == read.rank.tolist() == [2]
    assert (hankel_modes(system, x).modes.norm(dim=-1) > 0).sum() == 1
    unreachable = written.reach(turn[:, 2])
    assert unreachable.missed.item() == pytest.approx(1)
    assert read.read(turn[:, 1]).item() == pytest.approx(0, abs=1e-20)
    torch.testing.assert_close(read.read(turn[:, 0])[0, 0], (0.9 ** (2 * torch.arange(30.0).double())).sum())


def test_reach_moves_the_state_there_with_the_least_energy():
    layer, x = nn.GRU(2, 4, batch_first=True).double(), torch.randn(1, 12, 2).double()
    wanted = torch.randn(4).double()
    found = controllability(layer, x).reach(wanted)
    assert found.missed.item() < 1e-8
    step, small = as_step(layer), 1e-5
    moved = step.run(x + small * found.input)[1][0, -1] - step.run(x)[1][0, -1]
    torch.testing.assert_close(moved / small, wanted, atol=1e-3, rtol=1e-3)
    gramian = controllability(layer, x).gramian[0]
    torch.testing.assert_close(found.energy[0], wanted @ torch.linalg.solve(gramian, wanted))


def test_hankel_singular_values_are_those_of_both_gramians():
    system = random_linear(radius=0.7)
    A, B, C, _ = (each.numpy() for each in system.matrices)
    found = hankel_modes(system, torch.randn(1, 200, 2).double())
    product = control.dlyap(A, B @ B.T) @ control.dlyap(A.T, C.T @ C)
    expected = np.sqrt(np.sort(np.linalg.eigvals(product).real)[::-1])
    np.testing.assert_allclose(found.singular_values[0], expected, rtol=1e-7)
    # A balanced mode is an eigenvector of the product of the Gramians.
    mode = found.modes[0, 0].numpy()
    np.testing.assert_allclose(product @ mode, expected[0] ** 2 * mode, atol=1e-7)


def test_a_head_reads_what_it_sees():
    lstm, head = nn.LSTM(3, 4, batch_first=True).double(), nn.Linear(4, 2).double()
    x = torch.randn(1, 7, 3).double()
    whole, through = observability(lstm, x), observability(as_step(lstm).read_by(head), x)
    torch.testing.assert_close(through.response, torch.einsum("ok,btki->btoi", head.weight, whole.response))


def test_a_memory_of_size_256_takes_seconds():
    layer, x = nn.LSTM(8, 128, batch_first=True), torch.randn(1, 50, 8)
    start = time.process_time()
    assert controllability(layer, x).spectrum.shape == observability(layer, x).spectrum.shape == (1, 256)
    assert time.process_time() - start < 20


def test_pictures():
    import matplotlib

    matplotlib.use("agg")
    layer, x = nn.LSTM(2, 3), torch.randn(1, 20, 2)
    for found, rows in ((controllability(layer, x), 2), (observability(layer, x), 3)):
        pairs, values, over_time = found.plot()
        assert pairs.images[0].get_array().shape == (rows, 6)
        assert len(values.lines[0].get_xdata()) == 6
        assert len(over_time.lines[0].get_xdata()) == 20
    assert len(hankel_modes(layer, x).plot()) == 2


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match="without input"):
        controllability(as_step(lambda x, h: h, state=torch.zeros(1, 1)), torch.zeros(1, 3, 0))
    with pytest.raises(ValueError, match=r"\[batch, time, 2\].*\[1, 4, 3\]"):
        observability(nn.GRU(2, 3), torch.zeros(1, 4, 3))
    with pytest.raises(ValueError, match="1 to 3"):
        hankel_modes(nn.GRU(2, 3), torch.zeros(1, 4, 2), at=4)
