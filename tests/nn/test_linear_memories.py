"""Memories that are linear in their state, against transcriptions of their papers' equations and closed forms."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch.utils import _pytree as pytree

from remanence import nn
from remanence.nn.minimal_linear import min_gru_step
from remanence.nn.s5 import diagonalise_hippo
from remanence.ops.scan import scan
from tests.nn.transcription import assert_gradients_equal_differences, sigmoid


def make(kind, *sizes, **options):
    torch.manual_seed(0)
    layer = kind(*sizes, **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return layer


def arrays(layer):
    return {name: value.detach().numpy() for name, value in layer.named_parameters()}


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def assert_same(ours, expected):
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-9, atol=1e-10)


def g(a):
    return np.where(a >= 0, a + 0.5, sigmoid(a))


def run_min_gru(layer, x, positive=True):
    """Feng et al. 2024, section 3.1.1; the candidate as in the sequential listing of appendix B."""
    p, n = arrays(layer), layer.hidden_size
    h, outputs = np.zeros((len(x), n)), []
    for t in range(x.shape[1]):
        z = sigmoid(x[:, t] @ p["drive.weight"][:n].T + p["drive.bias"][:n])
        candidate = x[:, t] @ p["drive.weight"][n:].T + p["drive.bias"][n:]
        h = (1 - z) * h + z * (g(candidate) if positive else candidate)
        outputs.append(h)
    return np.stack(outputs, 1), h


def run_min_lstm(layer, x, positive=True):
    """The same, section 3.2: two gates, divided by their sum."""
    p, n = arrays(layer), layer.hidden_size
    h, outputs = np.zeros((len(x), n)), []
    for t in range(x.shape[1]):
        f, i, candidate = np.split(x[:, t] @ p["drive.weight"].T + p["drive.bias"], 3, axis=1)
        f, i = sigmoid(f), sigmoid(i)
        h = f / (f + i) * h + i / (f + i) * (g(candidate) if positive else candidate)
        outputs.append(h)
    return np.stack(outputs, 1), h


def run_lru(layer, x):
    """Orvieto et al. 2023, appendix A: with complex numbers."""
    p = arrays(layer)
    eigenvalue = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    B, C = (p[name][0] + 1j * p[name][1] for name in ("weight_ih", "weight_ho"))
    h, outputs = np.zeros((len(x), layer.hidden_size), complex), []
    for t in range(x.shape[1]):
        h = eigenvalue * h + np.exp(p["gamma"]) * (x[:, t] @ B.T)
        outputs.append((h @ C.T).real + x[:, t] @ p["skip"].T)
    return np.stack(outputs, 1), (np.real(h), np.imag(h))


def run_s5(layer, x, timespans=None):
    """Smith et al. 2023, equation 6 and section 3.3: with complex numbers."""
    p = arrays(layer)
    eigenvalue = p["decay"] + 1j * p["frequency"]
    B, C = (p[name][0] + 1j * p[name][1] for name in ("weight_ih", "weight_ho"))
    h, outputs = np.zeros((len(x), layer.hidden_size), complex), []
    for t in range(x.shape[1]):
        span = 1 if timespans is None else timespans[:, t, None]
        grown = np.exp(eigenvalue * np.exp(p["log_step"]) * span)
        h = grown * h + (grown - 1) / eigenvalue * (x[:, t] @ B.T)
        outputs.append(2 * (h @ C.T).real + x[:, t] @ p["skip"].T)
    return np.stack(outputs, 1), (np.real(h), np.imag(h))


def run_linoss(layer, x, timespans=None):
    """Rusch & Rus 2025, section 2.2: with the matrices M and the vectors F of equations 3 to 6."""
    p = arrays(layer)
    A = np.maximum(p["stiffness"], 0)
    z = y = np.zeros((len(x), layer.hidden_size))
    outputs = []
    for t in range(x.shape[1]):
        d = sigmoid(p["log_odds"]) * (1 if timespans is None else timespans[:, t, None])
        u = x[:, t] @ p["weight_ih"].T
        if layer.scheme == "im":
            S = 1 / (1 + d**2 * A)
            M, force = ((1 - d**2 * A * S, -d * A * S), (d * S, S)), (d * u, 0)
            force = [row[0] * force[0] + row[1] * force[1] for row in M]
        else:
            M, force = ((1, -d * A), (d, 1 - d**2 * A)), (d * u, d**2 * u)
        z, y = (row[0] * z + row[1] * y + f for row, f in zip(M, force, strict=True))
        outputs.append(y @ p["weight_ho"].T + x[:, t] @ p["skip"].T)
    return np.stack(outputs, 1), (z, y)


CASES = {
    "mingru": (nn.MinGRU, {}, run_min_gru),
    "minlstm": (nn.MinLSTM, {}, run_min_lstm),
    "lru": (nn.LRU, {"output_size": 2}, run_lru),
    "s5": (nn.S5, {"output_size": 2, "blocks": 2, "shortest": 0.1, "longest": 1.0}, run_s5),
    "linoss im": (nn.LinOSS, {"output_size": 2}, run_linoss),
    "linoss imex": (nn.LinOSS, {"output_size": 2, "scheme": "imex"}, run_linoss),
}
TIMED = ["s5", "linoss im", "linoss imex"]


@pytest.mark.parametrize(("case", "timed"), [*((c, False) for c in CASES), *((c, True) for c in TIMED)])
def test_equals_the_equations(case, timed):
    kind, options, run = CASES[case]
    layer, x = make(kind, 3, 4, **options), random(3, 12, 3).numpy()
    given = {"timespans": np.random.default_rng(2).uniform(0, 2, (3, 12))} if timed else {}
    found = layer(torch.from_numpy(x), **{name: torch.from_numpy(value) for name, value in given.items()})
    assert_same(pytree.tree_leaves(found), pytree.tree_leaves(run(layer, x, **given)))
    assert_gradients_equal_differences(layer, found[0], lambda: run(layer, x, **given)[0])


@pytest.mark.parametrize(("kind", "run"), [(nn.MinGRU, run_min_gru), (nn.MinLSTM, run_min_lstm)])
def test_without_g_candidates_may_be_negative(kind, run):
    layer, x = make(kind, 3, 4, positive=False), random(2, 9, 3)
    assert_same(layer(x), run(layer, x.numpy(), positive=False))
    assert (layer(x)[0] < 0).any()


def test_min_lstm_with_both_gates_closed():
    layer = nn.MinLSTM(1, 1)
    with torch.no_grad():
        layer.drive.weight.zero_()
        layer.drive.bias.copy_(torch.tensor([-1000.0, -1000.0, 1.5]))
    y, _ = layer(torch.zeros(1, 3, 1))
    torch.testing.assert_close(y[0, :, 0], torch.tensor([1.0, 1.5, 1.75]))  # half of the way to 2 in each step


def test_gates_that_forget_everything_at_once_are_no_problem_for_an_associative_scan():
    """In logarithms, or divided by a product of 1 - z, this would be infinite."""
    inputs = [torch.full((1, 400, 1), 200.0), torch.randn(1, 400, 1, generator=torch.Generator().manual_seed(0))]
    state = [torch.ones(1, 1)]

    def step(state, inputs, params):
        return min_gru_step(True, state, inputs, params)

    expected = scan(step, inputs, state, backend="reference")
    torch.testing.assert_close(scan(step, inputs, state, backend="associative"), expected)


def test_the_impulse_response_of_an_lru():
    layer, time = make(nn.LRU, 1, 5), 30
    x = torch.zeros(1, time, 1, dtype=torch.float64)
    x[0, 0] = 1
    y, _ = layer(x)
    B, C = (torch.complex(*weight) for weight in (layer.weight_ih, layer.weight_ho))
    powers = layer.eigenvalues() ** torch.arange(time)[:, None]
    expected = ((powers * layer.gamma.exp() * B[:, 0]) @ C.T).real
    expected[0] += layer.skip[:, 0]
    torch.testing.assert_close(y[0], expected)


def test_the_ring_of_an_lru():
    torch.manual_seed(0)
    layer = nn.LRU(2, 4000, r_min=0.5, r_max=0.9, max_phase=0.5)
    modulus = layer.eigenvalues().abs()
    assert modulus.min() >= 0.499
    assert modulus.max() <= 0.901
    inside = (modulus < math.sqrt((0.5**2 + 0.9**2) / 2)).double().mean()  # half of the area
    assert abs(inside.item() - 0.5) < 0.03
    assert 0 <= layer.eigenvalues().angle().min() <= layer.eigenvalues().angle().max() <= 0.5
    torch.testing.assert_close(layer.gamma.exp(), (1 - modulus.square()).sqrt())


def test_an_lru_gives_its_state_the_size_of_its_input():
    torch.manual_seed(0)
    layer = nn.LRU(4, 100, r_min=0.5, r_max=0.9)
    _, (real, imaginary) = layer(torch.randn(500, 60, 4))  # white noise of variance 1
    assert abs((real.square() + imaginary.square()).mean().item() - 1) < 0.1


@pytest.mark.parametrize("size", [2, 6, 16])
def test_hippo_is_diagonalised(size):
    """HiPPO-LegS is the diagonal matrix of these eigenvalues, minus a matrix of rank one (Gu et al. 2022)."""
    values, vectors = diagonalise_hippo(size)
    values, vectors = np.concatenate([values, values.conj()]), np.concatenate([vectors, vectors.conj()], 1)
    np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(size), atol=1e-12)
    n = np.arange(size)
    hippo = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            hippo[i, j] = -(i + 1) if i == j else -math.sqrt((2 * i + 1) * (2 * j + 1))
    normal = hippo + np.outer(np.sqrt(n + 0.5), np.sqrt(n + 0.5))
    np.testing.assert_allclose((vectors * values) @ vectors.conj().T, normal, atol=1e-10)
    assert (vectors[0].real > 0).all()


def test_s5_starts_from_hippo_in_blocks():
    torch.manual_seed(0)
    layer = nn.S5(3, 6, blocks=2)
    expected, _ = diagonalise_hippo(6)
    torch.testing.assert_close(layer.eigenvalues(), torch.from_numpy(expected).repeat(2).to(torch.complex64))
    assert math.log(0.001) <= layer.log_step.min() <= layer.log_step.max() <= math.log(0.1)


def test_s5_equals_the_zero_order_hold_of_scipy():
    """Of the system with real matrices: HiPPO-N, in its own coordinates."""
    layer = nn.S5(2, 3, output_size=2).double()
    values, vectors = diagonalise_hippo(6)
    with torch.no_grad():
        layer.log_step.fill_(math.log(0.3))
        layer.decay.copy_(torch.from_numpy(values.real))  # not rounded to float32
        layer.frequency.copy_(torch.from_numpy(values.imag))
    V = np.concatenate([vectors, vectors.conj()], 1)
    A = ((V * np.concatenate([values, values.conj()])) @ V.conj().T).real
    p = arrays(layer)
    half_B, half_C = (p[name][0] + 1j * p[name][1] for name in ("weight_ih", "weight_ho"))
    B, C = 2 * (vectors @ half_B).real, 2 * (half_C @ vectors.conj().T).real
    system = scipy.signal.cont2discrete((A, B, C, p["skip"]), 0.3, method="zoh")
    x = random(1, 40, 2)
    y = scipy.signal.dlsim(system, np.concatenate([x[0].numpy(), np.zeros((1, 2))]))[1]
    # SciPy reads the state before a step, and we after it.
    ours = layer(x)[0][0].detach().numpy() - x[0].numpy() @ p["skip"].T
    late = y[1:] - np.concatenate([x[0].numpy()[1:], np.zeros((1, 2))]) @ p["skip"].T
    np.testing.assert_allclose(ours, late, rtol=1e-9, atol=1e-10)


def test_two_half_steps_of_s5_are_a_whole_one():
    """The solution is exact: an input that stays may be cut in time."""
    layer, x = make(nn.S5, 3, 4), random(2, 6, 3)
    _, whole = layer(x)
    _, halves = layer(x.repeat_interleave(2, 1), timespans=torch.full((2, 12), 0.5, dtype=torch.float64))
    torch.testing.assert_close(whole, halves)


def test_short_steps_of_s5_are_accurate_in_single_precision():
    layer = nn.S5(2, 4)
    x, spans = torch.randn(1, 3, 2), torch.full((1, 3), 1e-6)
    _, state = layer(x, timespans=spans)
    _, exact = layer.double()(x.double(), timespans=spans.double())
    for ours, theirs in zip(state, exact, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=0)


def free_run(scheme, stiffness, step, time=300):
    """Velocities and positions of oscillators that nothing drives, from a random start."""
    layer = nn.LinOSS(1, len(stiffness), scheme=scheme).double()
    with torch.no_grad():
        layer.stiffness.copy_(stiffness)
        layer.log_odds.copy_(torch.logit(step))
        layer.weight_ho.copy_(torch.eye(len(stiffness)))
        layer.skip.zero_()
    p, q = random(2, 1, len(stiffness)).unbind(0)
    path, state = [(p, q)], (p, q)
    for _ in range(time):
        _, state = layer.step(torch.zeros(1, 1, dtype=torch.float64), state)
        path.append(state)
    y, final = layer(torch.zeros(1, time, 1, dtype=torch.float64), (p, q))
    torch.testing.assert_close(final, state)
    torch.testing.assert_close(y[0], torch.cat([q for _, q in path[1:]]))
    return torch.cat([p for p, _ in path]), torch.cat([q for _, q in path])


STIFFNESS = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
STEP = torch.tensor([0.9, 0.5, 0.3], dtype=torch.float64)


def test_the_symplectic_scheme_conserves_its_energy():
    """p² + A q² - Δ A p q of the symplectic Euler method, to rounding; so the true energy stays within bounds."""
    p, q = free_run("imex", STIFFNESS, STEP)
    energy = p.square() + STIFFNESS * q.square() - STEP * STIFFNESS * p * q
    torch.testing.assert_close(energy, energy[:1].expand_as(energy))


def test_the_implicit_scheme_dissipates_by_a_known_factor():
    """Each step divides p² + A q² by 1 + Δ² A, the product of the eigenvalues of the implicit Euler method."""
    p, q = free_run("im", STIFFNESS, STEP, time=40)
    energy = p.square() + STIFFNESS * q.square()
    torch.testing.assert_close(energy[1:] / energy[:-1], (1 / (1 + STEP.square() * STIFFNESS)).expand(40, -1))


def test_oscillators_turn_by_their_frequency():
    """Small steps approach the solution of the differential equation."""
    stiffness, step = torch.tensor([4.0], dtype=torch.float64), torch.tensor([1e-3], dtype=torch.float64)
    p, q = free_run("imex", stiffness, step, time=1000)
    t = torch.arange(1001, dtype=torch.float64)[:, None] * 1e-3
    torch.testing.assert_close(q, q[0] * torch.cos(2 * t) + p[0] / 2 * torch.sin(2 * t), rtol=0, atol=2e-3)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.LRU(3, 4, r_min=0.9, r_max=0.5), "0 <= r_min < r_max <= 1, got 0.9 and 0.5"),
        (lambda: nn.LRU(3, 4, max_phase=0.0), "max_phase must be positive, got 0.0"),
        (lambda: nn.S5(3, 4, blocks=3), "hidden_size must be a multiple of blocks, got 4 and 3"),
        (lambda: nn.S5(3, 4, shortest=0.2), "0 < shortest <= longest, got 0.2 and 0.1"),
        (lambda: nn.LinOSS(3, 4, scheme="explicit"), "scheme must be one of im, imex, got 'explicit'"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_wrong_options_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
