import control
import numpy as np
import pytest
import torch
from torch import nn

from remanence.analysis import as_step, fixed_points, linear_control


def linear(A, B):
    A, B = torch.as_tensor(A).double(), torch.as_tensor(B).double()
    return as_step(lambda x, h: h @ A.T + x @ B.T, state=torch.zeros(1, len(A)).double(), input_size=B.shape[1])


def at_zero(A, B, **options):
    return linear_control(linear(A, B), torch.zeros(len(A)).double(), **options)


def test_gramians_solve_the_lyapunov_equations():
    layer = nn.GRU(2, 6, batch_first=True).double()
    x = torch.tensor([0.3, -0.5]).double()
    point = fixed_points(layer, x).attractors[0]
    found = linear_control(layer, point, x)
    A, B, C = found.A, found.B, found.C
    assert found.horizon is None
    W, M = found.controllability_gramian, found.observability_gramian
    torch.testing.assert_close(A @ W @ A.T - W, -B @ B.T)
    torch.testing.assert_close(A.T @ M @ A - M, -C.T @ C)
    expected = np.linalg.eigvals((W @ M).numpy()).real
    np.testing.assert_allclose(found.hankel_singular_values.square(), np.sort(expected)[::-1], atol=1e-10)


def test_linearisation_is_that_of_central_differences():
    layer = nn.LSTM(2, 3, batch_first=True).double()
    step, h, x = as_step(layer), torch.randn(6).double(), torch.randn(2).double()
    found = linear_control(layer, h, x)
    both, small = torch.cat([h, x]), 1e-6
    by = small * torch.eye(8).double()
    with torch.no_grad():
        ends = [step.advance((both + each)[:, 6:], (both + each)[:, :6]) for each in (by, -by)]
    of_output, of_state = ((up - down).T / (2 * small) for up, down in zip(*ends, strict=True))
    torch.testing.assert_close(torch.cat([found.A, found.B], 1), of_state, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(torch.cat([found.C, found.D], 1), of_output, atol=1e-8, rtol=1e-6)


def test_ranks_are_those_of_the_matrices_of_python_control():
    for size, inputs, seen in ((2, 1, 2), (5, 2, 5), (6, 1, 4), (6, 2, 3)):
        A, B = torch.randn(size, size).double(), torch.randn(size, inputs).double()
        A[seen:, :seen], B[seen:] = 0, 0  # the others only drive those seen
        turn = torch.linalg.qr(torch.randn(size, size).double()).Q
        A, B = turn @ A @ turn.T, turn @ B
        found = at_zero(A, B)
        matrix = control.ctrb(A.numpy(), B.numpy())
        assert found.controllable_rank == np.linalg.matrix_rank(matrix, tol=1e-9 * np.linalg.norm(matrix, 2)) == seen
        system = found.state_space
        assert system.isdtime(strict=True)
        expected = np.linalg.matrix_rank(control.obsv(system.A, system.C))
        assert found.observable_rank == expected == size


def test_a_long_shift_register_is_controllable_though_its_powers_say_little():
    size = 40
    A = torch.diag(torch.full((size - 1,), 0.1), -1)
    B = torch.zeros(size, 1)
    B[0] = 1
    found = at_zero(A, B)
    matrix = control.ctrb(A.double().numpy(), B.double().numpy())
    assert np.linalg.matrix_rank(matrix) < 20
    assert found.controllable_rank == size
    assert found.gramian_ranks[0] < 20  # the last ones take 10^76 times the energy of the first


def test_what_holds_has_a_gramian_over_a_horizon():
    found = at_zero([[1.0]], [[2.0]])
    assert found.horizon == 100
    assert found.controllability_gramian.item() == 400
    assert at_zero([[1.0]], [[2.0]], horizon=7).controllability_gramian.item() == 28
    assert at_zero([[0.5]], [[2.0]]).controllability_gramian.item() == pytest.approx(4 / 0.75)


def test_a_system_without_input():
    found = linear_control(as_step(lambda x, h: 0.5 * h, state=torch.zeros(1, 2).double()), torch.zeros(2).double())
    assert (found.controllable_rank, found.observable_rank) == (0, 2)
    assert found.controllability_spectrum.tolist() == [0, 0]


def test_picture():
    import matplotlib

    matplotlib.use("agg")
    values, numbers = at_zero([[0.5, 1], [0, 0.2]], [[0.0], [1]]).plot()
    assert len(values.lines) == 3
    assert len(numbers.lines[0].get_xdata()) == 2


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match=r"point \[1\] and x_t \[1\], got \[2\]"):
        linear_control(linear([[0.5]], [[1.0]]), torch.zeros(2).double())
    with pytest.raises(ValueError, match="1 or more steps"):
        at_zero([[0.5]], [[1.0]], horizon=0)
    with pytest.raises(ValueError, match="smaller horizon"):
        at_zero([[1e3]], [[1.0]], horizon=200)
