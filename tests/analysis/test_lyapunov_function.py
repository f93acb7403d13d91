import math

import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov

from remanence import analysis
from remanence import nn as memories
from remanence.analysis import as_step, check_lyapunov_function, fixed_points, quadratic_lyapunov


def system(function, size=2):
    return as_step(lambda x_t, h: function(h), state=torch.zeros(1, size).double())


def square(h):
    return h.square().sum(-1)


def turned(angle, by):
    c, s = by * math.cos(angle), by * math.sin(angle)
    a = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return system(lambda h: h @ a.T)


ORIGIN = torch.zeros(2).double()


@pytest.mark.parametrize("region", [1.0, [(-1.0, 1.0), (-2.0, 2.0)], torch.randn(500, 2).double()])
def test_a_contraction(region):
    found = check_lyapunov_function(turned(0.3, 0.9), square, region, point=ORIGIN, samples=500)
    assert found.strict
    assert found.holds
    assert "evidence, not proof" in found.verdict
    assert "asymptotically stable" in found.verdict
    assert found.level == (math.inf if isinstance(region, torch.Tensor) else pytest.approx(1, rel=0.05))
    torch.testing.assert_close(found.changes, -0.19 * found.values)


def test_a_rotation_is_stable_and_not_more():
    found = check_lyapunov_function(turned(0.3, 1.0), square, 1.0, point=ORIGIN, samples=500)
    assert found.holds
    assert not found.strict
    assert len(found.staying) == 500
    assert "none that states come to rest" in found.verdict


def test_counterexamples_are_where_v_rises():
    """h <- h/2 + h³ leaves from √½ on."""
    found = check_lyapunov_function(system(lambda h: 0.5 * h + h**3, 1), square, [(-1.0, 1.0)], point=ORIGIN[:1])
    assert not found.holds
    assert found.verdict.startswith("no Lyapunov function here: V rises at 2,")
    assert bool((found.rising.abs() > math.sqrt(0.5)).all())
    assert found.level == pytest.approx(0.5, abs=1e-3)


def test_a_candidate_that_is_not_positive_or_not_zero():
    step = turned(0.3, 0.9)
    found = check_lyapunov_function(step, lambda h: h[:, 0] ** 2 - 0.1 * h[:, 1] ** 2, 1.0, point=ORIGIN)
    assert not found.holds
    assert bool((found.not_positive[:, 0] ** 2 <= 0.1 * found.not_positive[:, 1] ** 2).all())
    found = check_lyapunov_function(step, lambda h: square(h) + 1, 1.0, point=ORIGIN)
    assert not found.holds
    assert "V is 1 at the point, not 0" in found.verdict


def test_a_step_out_of_the_region_limits_the_level():
    """From |h| = ½ on a step leads to where V is low too, but of which nothing is known."""
    step = system(lambda h: torch.where(h.abs() > 0.5, 10 * h.sign(), h / 2), 1)
    found = check_lyapunov_function(step, lambda h: (h**2 / (1 + h**4))[:, 0], [(-1.0, 1.0)], point=ORIGIN[:1])
    assert found.strict
    assert found.level == pytest.approx(4 / 17, rel=1e-2)


def test_energy_of_hopfield_networks():
    memory = memories.Hopfield(30).double()
    memory.store(torch.randn(4, 30).double().sign())
    found = check_lyapunov_function(memory, samples=500)
    assert found.strict
    assert bool((found.changes <= 0).all())
    assert bool((found.changes < 0).any())
    assert "all come to rest" in found.verdict
    torch.testing.assert_close(found.values, memory.energy(found.states))


def test_energy_of_a_network_that_cycles():
    """Synchronous updates of two units that excite each other go round; the energy stays."""
    memory = memories.Hopfield(2)
    memory.weight.copy_(torch.tensor([[0.0, 1], [1, 0]]))
    step = as_step(lambda x_t, h: memory(h, update="synchronous", sweeps=1), state=torch.ones(1, 2))
    found = check_lyapunov_function(step, memory.energy, torch.tensor([[1.0, 1], [1, -1], [-1, 1]]))
    assert found.holds
    assert not found.strict
    assert found.staying.tolist() == [[1, -1], [-1, 1]]
    wrong = check_lyapunov_function(step, lambda h: -memory.energy(h) * h[:, 0], torch.tensor([[1.0, -1]]))
    assert not wrong.holds
    assert wrong.rising.tolist() == [[1, -1]]


def test_quadratic_solves_the_equation():
    a = torch.tensor([[0.8, 0.5], [-0.2, 0.7]]).double()
    Q = torch.tensor([[2.0, 0.3], [0.3, 1]]).double()
    found = quadratic_lyapunov(system(lambda h: h @ a.T), ORIGIN, Q=Q, samples=1000)
    torch.testing.assert_close(a.T @ found.P @ a - found.P, -Q)
    h = torch.randn(7, 2).double()
    torch.testing.assert_close(found(h @ a.T) - found(h), -((h @ Q) * h).sum(-1))
    assert found.half_axes[0].item() == pytest.approx(10)  # a linear system: as far as is looked
    assert "as far as was looked" in found.verdict


def test_level_set_ends_where_v_rises():
    """In polar coordinates r <- r/2 + r³: V = P r² falls where r < √½."""
    found = quadratic_lyapunov(system(lambda h: 0.5 * h + square(h)[:, None] * h), ORIGIN)
    torch.testing.assert_close(found.P, torch.eye(2).double() / 0.75)
    assert found.half_axes.tolist() == pytest.approx([math.sqrt(0.5)] * 2, rel=1e-3)
    assert bool((found.check.rising.norm(dim=1) >= math.sqrt(0.5)).all())
    assert len(found.check.rising) > 0


def test_level_set_of_a_bistable_memory_stays_inside_its_basin():
    step = as_step(lambda x_t, h: torch.tanh(1.5 * h), state=torch.zeros(1, 1).double())
    attractors = fixed_points(step).attractors
    for point in attractors:
        found = quadratic_lyapunov(step, point, samples=2000)
        assert found.half_axes.item() == pytest.approx(point.abs().item(), rel=1e-3)  # the border is at 0
        slope = 1.5 * (1 - point**2)
        expected = solve_discrete_lyapunov(slope[None].numpy(), torch.eye(1).double().numpy())
        assert found.P.item() == pytest.approx(expected.item())


def test_pictures():
    import matplotlib

    matplotlib.use("agg")
    step = system(lambda h: 0.5 * h + h**3, 1)
    assert len(check_lyapunov_function(step, square, 1.0, point=ORIGIN[:1]).plot().lines) == 4
    assert len(quadratic_lyapunov(step, ORIGIN[:1]).plot().lines) >= 4


@pytest.mark.unchecked
def test_refuses():
    step = turned(0.3, 0.9)
    with pytest.raises(ValueError, match="not an equilibrium"):
        check_lyapunov_function(step, square, 1.0, point=ORIGIN + 1)
    with pytest.raises(ValueError, match="are needed"):
        check_lyapunov_function(step)
    with pytest.raises(ValueError, match="radius needs point"):
        check_lyapunov_function(step, square, 1.0)
    with pytest.raises(ValueError, match="each of 2"):
        check_lyapunov_function(step, square, [(0.0, 1.0)])
    with pytest.raises(ValueError, match=r"\[states, 2\].*\[5, 3\]"):
        check_lyapunov_function(step, square, torch.zeros(5, 3))
    with pytest.raises(ValueError, match="not stable there"):
        quadratic_lyapunov(turned(0.3, 1.1), ORIGIN)
    with pytest.raises(ValueError, match="positive definite"):
        quadratic_lyapunov(step, ORIGIN, Q=-torch.eye(2).double())


def test_the_old_name_is_accepted_with_a_warning():
    with pytest.warns(FutureWarning, match=r"analysis\.lyapunov_function is now called analysis\.check_lyapunov_func"):
        old = analysis.lyapunov_function  # pyright: ignore[reportAttributeAccessIssue]
    assert old is check_lyapunov_function
