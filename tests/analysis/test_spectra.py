import math

import pytest
import torch

from remanence.analysis import LyapunovExponents, as_step, lyapunov_exponents, spectrum


def linear(*matrices):
    """A system that applies the matrices in turn; which one, the input says."""
    stack = torch.stack(matrices)

    def step(x_t, h):
        return (stack[x_t[:, 0].long()] @ h[..., None])[..., 0]

    return as_step(step, state=torch.ones(1, stack.shape[-1]).double(), input_size=1)


def turns(count, steps):
    return (torch.arange(steps) % count)[None, :, None].double()


def without_input(function, start):
    """A map and a batch of starts."""
    start = torch.as_tensor(start).double()
    return as_step(function, state=start[:1]), start


def estimate(function, start, steps, **options):
    step, start = without_input(function, start)
    return lyapunov_exponents(step, step.silence(len(start), steps), start, **options)


def test_spectrum_of_a_linear_system_is_that_of_its_matrix():
    a = torch.randn(4, 4).double()
    found = spectrum(linear(a), turns(1, 3))
    torch.testing.assert_close(found.jacobians, a.expand(1, 3, 4, 4))
    expected = sorted(torch.linalg.eigvals(a).abs().tolist(), reverse=True)
    torch.testing.assert_close(found.eigenvalues[0, 2].abs(), torch.tensor(expected).double())
    torch.testing.assert_close(found.singular_values[0, 1], torch.linalg.svdvals(a))
    assert math.isclose(found.spectral_radius[0, 0], expected[0])


def test_exponents_of_a_triangular_map():
    a = torch.tensor([[3.0, 1, -2], [0, 0.9, 5], [0, 0, 0.1]]).double()
    found = lyapunov_exponents(linear(a), turns(1, 200), discard=50)
    torch.testing.assert_close(found.exponents[0], torch.tensor([3.0, 0.9, 0.1]).double().log())


def test_exponents_of_a_periodic_product():
    matrices = [torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1, 2)]
    a, b, c = matrices
    found = lyapunov_exponents(linear(*matrices), turns(3, 3000), discard=300)
    in_time = torch.linalg.eigvals(c @ b @ a).abs().log().sort(descending=True).values / 3
    reverse = torch.linalg.eigvals(a @ b @ c).abs().log().sort(descending=True).values / 3
    torch.testing.assert_close(found.exponents[0], in_time, atol=5e-3, rtol=0)
    assert (in_time - reverse).abs().max() > 0.05  # what the transposed product would give


def test_logistic_map():
    found = estimate(lambda x, h: 4 * h * (1 - h), torch.linspace(0.1, 0.4, 50)[:, None], 2000, discard=100)
    assert math.isclose(found.exponents.mean(), math.log(2), abs_tol=2e-3)
    assert found.running.shape == (50, 1900, 1)


def test_henon_map():
    def henon(x, h):
        return torch.stack([1 - 1.4 * h[:, 0] ** 2 + h[:, 1], 0.3 * h[:, 0]], -1)

    found = estimate(henon, 0.1 * torch.rand(40, 2), 2000, discard=100)
    first, second = found.exponents.mean(0)
    assert math.isclose(first, 0.41922, abs_tol=4e-3)  # Sprott, Chaos and Time-Series Analysis, 2003
    assert math.isclose(first + second, math.log(0.3), abs_tol=1e-9)
    assert math.isclose(found.kaplan_yorke_dimension.mean(), 1.25827, abs_tol=4e-3)


def test_lorenz_system():
    def drift(v):
        x, y, z = v.unbind(-1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)

    def runge_kutta(x, v, dt=0.01):
        k1 = drift(v)
        k2 = drift(v + dt / 2 * k1)
        k3 = drift(v + dt / 2 * k2)
        return v + dt / 6 * (k1 + 2 * k2 + 2 * k3 + drift(v + dt * k3))

    start = torch.tensor([1.0, 1, 20]) + torch.randn(64, 3)
    found = estimate(runge_kutta, start, 4000, discard=1000, time_step=0.01)
    expected = torch.tensor([0.9056, 0, -14.5723]).double()  # Sprott 2003
    torch.testing.assert_close(found.exponents.mean(0), expected, atol=0.02, rtol=0)
    assert math.isclose(found.kaplan_yorke_dimension.mean(), 2.06215, abs_tol=3e-3)


def test_the_largest_exponents_alone_are_the_same():
    layer = torch.nn.LSTM(2, 5, batch_first=True).double()
    x = torch.randn(2, 100, 2).double()
    some, everything = lyapunov_exponents(layer, x, count=3), lyapunov_exponents(layer, x)
    torch.testing.assert_close(some.exponents, everything.exponents[:, :3])


def test_dimension_of_what_shrinks_or_grows_throughout():
    made = LyapunovExponents(torch.tensor([[-1.0, -2.0], [2.0, 1.0], [1.0, -2.0]]), torch.zeros(3, 1, 2))
    assert made.kaplan_yorke_dimension.tolist() == [0, 2, 1.5]


@pytest.mark.unchecked
def test_refuses():
    layer, x = torch.nn.GRU(2, 3), torch.randn(1, 4, 2)
    with pytest.raises(ValueError, match="1 to 3"):
        lyapunov_exponents(layer, x, count=4)
    with pytest.raises(ValueError, match="0 to 3"):
        lyapunov_exponents(layer, x, discard=4)


def test_pictures():
    import matplotlib

    matplotlib.use("agg")
    layer, x = torch.nn.GRU(2, 3), torch.randn(1, 60, 2)
    assert len(spectrum(layer, x).plot()) == 2
    lines = lyapunov_exponents(layer, x).plot().lines
    assert len(lines) == 4
