"""Unitary networks against their published formulas as matrices, and in cases that are known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

from remanence import nn
from remanence.ops.rotations.reference import modrelu

SIZES = st.integers(1, 17)
SCALES = st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e4])


def drawn(layer, scale, seed):
    """The same layer with all parameters drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def styles(hidden):
    return [{"style": "fft"}, *({"capacity": capacity} for capacity in (1, 2, 3, hidden))]


def modrelu_of(z, b):
    return np.array([max(abs(z_k) + b_k, 0) * z_k / abs(z_k) for z_k, b_k in zip(z, b, strict=True)])


def evolved(W, layer, x, h):
    """h_t = modReLU(W h_{t-1} + V x_t), sample by sample, in NumPy: [real | imaginary] of all h_t."""
    N = layer.hidden_size
    V = layer.weight_ih.detach().numpy()
    V, b, outputs = V[:N] + 1j * V[N:], layer.bias.detach().numpy(), []
    for sequence, h_k in zip(x.numpy(), h, strict=True):
        for x_t in sequence:
            h_k = modrelu_of(W @ h_k + V @ x_t, b)
            outputs.append(np.concatenate([np.real(h_k), np.imag(h_k)]))
    return np.array(outputs).reshape(len(x), -1, 2 * N)


def assert_evolves(layer, W):
    """The layer does what its formula says, from its own first state and from another."""
    torch.testing.assert_close(layer.matrix(), torch.from_numpy(W))
    x, N = torch.randn(2, 5, layer.input_size, dtype=torch.float64), layer.hidden_size
    first = layer.h_0.detach().numpy()
    y, _ = layer(x)
    np.testing.assert_allclose(y.detach().numpy(), evolved(W, layer, x, [first[0] + 1j * first[1]] * 2), atol=1e-10)
    state = torch.randn(2, N, dtype=torch.float64), torch.randn(2, N, dtype=torch.float64)
    y, final = layer(x, state)
    expected = evolved(W, layer, x, state[0].numpy() + 1j * state[1].numpy())
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-10)
    torch.testing.assert_close(torch.cat(final, 1), y[:, -1])


@pytest.mark.parametrize("hidden", [1, 4, 7])
def test_urnn_is_its_published_product(hidden):
    layer = drawn(nn.UnitaryRNN(3, hidden).double(), 0.5, hidden)
    k = np.arange(hidden)
    F = np.exp(-2j * np.pi * np.outer(k, k) / hidden) / math.sqrt(hidden)
    D1, D2, D3 = (np.diag(np.exp(1j * w)) for w in layer.phases.detach().numpy())
    R1, R2 = (
        np.eye(hidden) - 2 * np.outer(v, v.conj()) / np.vdot(v, v).real
        for v in layer.reflections.detach().numpy()[:, 0] + 1j * layer.reflections.detach().numpy()[:, 1]
    )
    P = np.eye(hidden)[layer.permutation.numpy()]
    assert_evolves(layer, D3 @ R2 @ np.linalg.inv(F) @ D2 @ P @ R1 @ F @ D1)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(hidden=SIZES, time=st.integers(2, 6), batch=st.integers(1, 4), seed=st.integers(0, 999))
def test_urnn_multiplied_out_is_the_loop_of_fourier_transforms(hidden, time, batch, seed):
    layer = drawn(nn.UnitaryRNN(3, hidden).double(), 0.5, seed)
    torch.manual_seed(seed)
    x = torch.randn(batch, time, 3, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(batch, hidden, dtype=torch.float64, requires_grad=True) for _ in range(2))
    given, results = [x, *state, *(p for name, p in layer.named_parameters() if name != "h_0")], []
    for run in (layer._run, super(nn.UnitaryRNN, layer)._run):
        y, final = run(x, state)
        above = y.detach().cos().sum() + sum((y * y.detach().cos()).sum() for y in (y, *final))
        results.append((y, final, torch.autograd.grad(above, given)))
    torch.testing.assert_close(*results, rtol=1e-7, atol=1e-9)


def test_urnn_of_many_units_keeps_to_fourier_transforms(monkeypatch):
    monkeypatch.setattr("remanence.ops.rotations.matrix_form.run", lambda *_: pytest.fail("multiplied out"))
    nn.UnitaryRNN(1, 257)(torch.randn(1, 3, 1))
    nn.UnitaryRNN(1, 8)(torch.randn(1, 1, 1))


def product_of_rotations(layer):
    """D F_L ... F_1, one 2 x 2 rotation after the other."""
    N, angles = layer.hidden_size, zip(layer.theta.tolist(), layer.phi.tolist(), strict=True)
    W = np.eye(N, dtype=complex)
    if layer.style == "fft":
        power = 1
        while power < N:
            power *= 2
        distances = [power >> level for level in range(1, power.bit_length())]
        layers = [[(a, a + d) for a in range(N) if a % (2 * d) < d and a + d < N] for d in distances]
    else:
        layers = [[(a, a + 1) for a in range(index % 2, N - 1, 2)] for index in range(len(layer.partner))]
    for a, b in (pair for pairs in layers for pair in pairs):
        theta, phi = next(angles)
        R = np.eye(N, dtype=complex)
        R[a, a], R[a, b] = math.cos(theta), -np.exp(1j * phi) * math.sin(theta)
        R[b, a], R[b, b] = math.sin(theta), np.exp(1j * phi) * math.cos(theta)
        W = R @ W
    assert next(angles, None) is None
    return np.diag(np.exp(1j * layer.omega.detach().numpy())) @ W


@pytest.mark.parametrize("hidden", [1, 2, 6, 7, 8])
def test_eunn_is_its_product_of_rotations(hidden):
    for options in styles(hidden):
        layer = drawn(nn.EUNN(3, hidden, **options).double(), 1.0, hidden)
        assert_evolves(layer, product_of_rotations(layer))


@settings(max_examples=30, deadline=None)
@given(hidden=SIZES, scale=SCALES, seed=st.integers(0, 999), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_whatever_the_parameters_are_the_matrix_is_unitary(hidden, scale, seed, dtype):
    layers = [nn.UnitaryRNN(2, hidden), nn.OrthogonalRNN(2, hidden), *(nn.EUNN(2, hidden, **o) for o in styles(hidden))]
    for layer in layers:
        if isinstance(layer, nn.OrthogonalRNN):
            scale = min(scale, 1.0)  # the exponential of a matrix loses digits as that grows
        W = drawn(layer.to(dtype), scale, seed).matrix().detach()
        of_norm = np.abs(np.linalg.norm(W.numpy().astype(complex), 2) - 1)
        of_product = (W @ W.mH - torch.eye(hidden)).abs().max()
        assert of_norm < (1e-6 if dtype == torch.float32 else 1e-12), layer
        assert of_product < (5e-6 if dtype == torch.float32 else 1e-12), layer


@pytest.mark.parametrize(("options", "turns"), [({"capacity": 128}, 128 * 127 // 2), ({"style": "fft"}, 64 * 7)])
def test_128_units(options, turns):
    layer = nn.EUNN(2, 128, **options)
    assert (len(layer.theta), len(layer.phi), len(layer.omega)) == (turns, turns, 128)
    W = layer.matrix().detach().to(torch.complex128)
    assert abs(torch.linalg.matrix_norm(W, 2) - 1) < 1e-6


def test_in_fft_style_each_unit_hears_all_and_at_capacity_2_only_its_neighbours():
    assert (nn.EUNN(2, 16, style="fft").matrix().abs() > 1e-9).all()
    near = (torch.arange(16)[:, None] - torch.arange(16)).abs() <= 2
    assert (nn.EUNN(2, 16, capacity=2).matrix()[~near] == 0).all()


@pytest.mark.parametrize("hidden", [2, 3, 6])
def test_eunn_of_full_capacity_can_be_any_unitary(hidden):
    generator = torch.Generator().manual_seed(hidden)
    target = torch.linalg.qr(torch.randn(hidden, hidden, dtype=torch.complex128, generator=generator)).Q
    torch.manual_seed(1)
    layer = nn.EUNN(1, hidden, capacity=hidden).double()
    angles = [layer.theta, layer.phi, layer.omega]
    assert sum(angle.numel() for angle in angles) == hidden**2
    optimiser = torch.optim.LBFGS(
        angles, max_iter=2000, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def distance():
        optimiser.zero_grad()
        off = (layer.matrix() - target).abs().square().sum()
        off.backward()
        return off

    optimiser.step(distance)
    assert (layer.matrix() - target).abs().max() < 1e-5


def test_modrelu_keeps_phases_and_rectifies_moduli():
    z = torch.polar(torch.tensor([2.0, 0.5, 0.0, 3.0]), torch.tensor([0.3, -2.0, 0.0, 1.0]))
    h = modrelu(z, torch.tensor([1.0, -0.6, 0.5, -1.0]))
    torch.testing.assert_close(h.abs(), torch.tensor([3.0, 0.0, 0.0, 2.0]))
    torch.testing.assert_close(h.angle()[[0, 3]], torch.tensor([0.3, 1.0]))


@pytest.mark.parametrize("layer", [nn.UnitaryRNN(2, 16), nn.EUNN(2, 16, style="fft"), nn.OrthogonalRNN(2, 16)])
def test_without_input_the_norm_and_the_gradient_stay_for_ever(layer):
    layer = layer.double()
    state = pytree.tree_map(lambda part: torch.randn(1, 16).double().requires_grad_(), layer.initial_state(1))
    y, _ = layer(torch.zeros(1, 1000, 2, dtype=torch.float64), state)
    before = torch.cat(pytree.tree_leaves(state)).norm()
    torch.testing.assert_close(y[0].norm(dim=1), before.expand(1000))
    above = torch.randn(y.shape[2], dtype=torch.float64)
    grads = torch.autograd.grad(y[0, -1] @ above, pytree.tree_leaves(state))
    torch.testing.assert_close(torch.cat(grads).norm(), above.norm())


@pytest.mark.parametrize("kind", [nn.UnitaryRNN, nn.EUNN])
def test_the_first_state_has_norm_1_and_is_learned(kind):
    torch.manual_seed(0)
    squares = [kind(2, 50).h_0.square().sum().item() for _ in range(100)]
    assert abs(np.mean(squares) - 1) < 0.02
    layer = kind(2, 5)
    layer(torch.randn(3, 4, 2))[0].sum().backward()
    assert layer.h_0.grad.abs().min() > 0


@pytest.mark.parametrize("nonlinearity", ["modrelu", "tanh", "relu"])
def test_orthogonal_rnn_is_its_formula(nonlinearity):
    layer = drawn(nn.OrthogonalRNN(3, 6, nonlinearity=nonlinearity).double(), 0.7, 1)
    Q, W, b = (part.detach().numpy() for part in (layer.matrix(), layer.weight_ih, layer.bias))
    x, h = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    functions = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}
    y, _ = layer(x, h)
    for sample in range(2):
        h_t = h[sample].numpy()
        for t in range(5):
            z = Q @ h_t + W @ x[sample, t].numpy()
            h_t = modrelu_of(z, b) if nonlinearity == "modrelu" else functions[nonlinearity](z + b)
            np.testing.assert_allclose(y[sample, t].detach().numpy(), h_t, atol=1e-12)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="capacity must be a positive integer, got 0"):
        nn.EUNN(2, 4, capacity=0)
    with pytest.raises(ValueError, match="omit capacity"):
        nn.EUNN(2, 4, capacity=3, style="fft")


@pytest.mark.unchecked
def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="'tunable' or 'fft', got 'dct'"):
        nn.EUNN(2, 4, style="dct")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="'modrelu', 'tanh' or 'relu', got 'gelu'"):
        nn.OrthogonalRNN(2, 4, nonlinearity="gelu")  # pyright: ignore[reportArgumentType]
