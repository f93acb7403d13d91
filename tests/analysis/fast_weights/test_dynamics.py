import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from remanence.analysis import as_step, fast_weights_dynamics
from remanence.analysis.fast_weights.jacobian import compute_blocks, compute_deviation
from remanence.analysis.fast_weights.path import trace_path
from remanence.nn import Elman, FastWeights

N = 4
KINDS = [{}, {"layer_norm": False}, {"nonlinearity": "tanh"}, {"nonlinearity": "tanh", "layer_norm": False}]


def make(**options):
    layer = FastWeights(2, N, **{"decay": 0.8, "fast_learning_rate": 0.1, **options}).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_blocks_and_eigenvalues_are_those_of_the_whole_jacobian(options, inner_steps):
    layer, x = make(inner_steps=inner_steps, **options), 0.3 * torch.randn(2, 5, 2).double()
    λ, η = layer.decay, layer.fast_learning_rate
    G, M = compute_blocks(layer, trace_path(layer, x))
    step = as_step(layer)
    _, states = step.run(x)
    found = fast_weights_dynamics(layer, x).eigenvalues
    for t in range(5):
        whole = step.jacobian(x[:, t], states[:, t])
        for row in range(2):
            J, h = whole[row], states[row, t + 1, :N]
            torch.testing.assert_close(J[:N, :N], G[row, t])
            K = torch.stack([(torch.outer(v, h) + torch.outer(h, v)).flatten() for v in torch.eye(N).double()], 1)
            torch.testing.assert_close(η * J[:N, N:] @ K, M[row, t])
            torch.testing.assert_close(J[N:, :N], η * K @ G[row, t])
            torch.testing.assert_close(J[N:, N:], λ * torch.eye(N * N).double() + η * K @ J[:N, N:])
            z = torch.complex(torch.tensor([0.3, -1.1, 0.05]), torch.tensor([0.7, 0.2, -0.4])).to(torch.complex128)
            for point in z:  # the characteristic polynomials agree, so all roots do
                expected = torch.linalg.det(point * torch.eye(N + N * N) - J)
                reduced = (point - λ) ** (N * N - N) * (point - found[row, t]).prod()
                torch.testing.assert_close(reduced, expected, rtol=1e-8, atol=1e-14)


@pytest.mark.filterwarnings("ignore::remanence.nn.FastWeightsGrowthWarning")
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    time=st.integers(1, 6),
    inner_steps=st.integers(1, 4),
    decay=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    rate=st.sampled_from([0.0, 0.01, 0.1, 0.5]),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    kind=st.sampled_from(KINDS),
)
def test_no_bound_is_ever_violated(seed, time, inner_steps, decay, rate, scale, kind):
    torch.manual_seed(seed)
    layer = make(decay=decay, fast_learning_rate=rate, inner_steps=inner_steps, **kind)
    x = scale * torch.randn(3, time, 2).double()
    assume(kind != {"layer_norm": False} or layer(x)[1][1].norm() < 1e9)  # nothing else is unbounded
    found = fast_weights_dynamics(layer, x)
    slack = 1 + 1e-6

    def below(smaller, larger):
        assert ((smaller <= slack * larger + 1e-7) | ~larger.isfinite()).all()

    below(found.contraction, found.lipschitz)
    below(found.lipschitz, found.norm_bound)
    below(found.norm_bound, found.ceiling[:, None])
    below(found.remaining.nan_to_num(0), found.remaining_bound)
    # 100 steps of at most 0.8 leave less than the rounding of doubles.
    assert (found.settles | (found.lipschitz > 0.8)).all()
    assert (found.spectral_radius >= decay).all()


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-4, 1e-2, 1.0]), apart=st.sampled_from([1e-3, 1.0, 30.0]))
def test_layer_norm_is_as_lipschitz_as_said(seed, scale, apart):
    torch.manual_seed(seed)
    layer = make()
    assert isinstance(layer.norm, torch.nn.LayerNorm)
    z = scale * torch.randn(7, 1, N).double()
    z = torch.cat([z, z + apart * scale * torch.randn(7, 1, N).double()], 1)
    factor = layer.norm.weight.detach().abs().max() / compute_deviation(layer, z).prod(1).sqrt()
    apart_after = layer.norm(z).detach().diff(dim=1)[:, 0].norm(dim=-1)
    assert (apart_after <= factor * z.diff(dim=1)[:, 0].norm(dim=-1) * (1 + 1e-9)).all()


def test_layer_norm_reaches_its_constant():
    """Two directions of the same length, a little apart: ε = 1e-5 counts for nothing beside σ = 1."""
    layer = FastWeights(2, N).double()
    u, v = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1]]).double()
    z = torch.stack([u, (u + 1e-4 * v) / (1 + 1e-8) ** 0.5])
    ratio = layer.norm(z).diff(dim=0).norm() / z.diff(dim=0).norm()
    torch.testing.assert_close(ratio, 1 / compute_deviation(layer, z).prod().sqrt(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("inner_steps", [1, 2, 5])
def test_bounds_are_reached_where_one_pattern_was_written_all_along(inner_steps):
    """The drive of every step is such that the layer comes out at the same h: A is η Σ λ^k h hᵀ, of rank one."""
    λ, η, steps, S = 0.5, 0.04, 60, inner_steps
    layer = FastWeights(N, N, layer_norm=False, decay=λ, fast_learning_rate=η, inner_steps=S).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight_ih.copy_(torch.eye(N))
    h = torch.tensor([1.0, 0.5, 0.0, 1.5]).double()
    square = float(h @ h)
    rates = torch.tensor([η * square * (1 - λ**t) / (1 - λ) for t in range(steps)], dtype=torch.float64)
    reached = torch.stack([rates**k for k in range(S + 1)]).sum(0)  # the loop makes this of a drive along h
    found = fast_weights_dynamics(layer, (h / reached[:, None])[None])
    torch.testing.assert_close(found.lipschitz[0], rates)
    torch.testing.assert_close(found.norm_bound[0], rates)
    torch.testing.assert_close(found.contraction[0], rates)
    assert math.isclose(found.ceiling.item(), rates[-1], rel_tol=1e-9)
    torch.testing.assert_close(found.remaining, found.remaining_bound, rtol=1e-6, atol=1e-12)
    expected = (rates ** (S + 1) / (1 - rates) / reached) * square**0.5
    torch.testing.assert_close(found.remaining[0], expected, rtol=1e-6, atol=1e-12)
    assert found.contracts.all()


def test_a_loop_that_does_not_settle_is_said_so():
    layer = FastWeights(1, 2, layer_norm=False, fast_learning_rate=2.0).double()
    with torch.no_grad():
        layer.weight_ih.fill_(1.0)
        layer.bias.zero_()
    found = fast_weights_dynamics(layer, torch.ones(1, 2, 1).double(), iterations=20)
    assert found.settles.tolist() == [[True, False]]
    assert found.contracts.tolist() == [[True, False]]
    assert found.remaining_bound[0, 1] == math.inf


def test_a_single_unit_has_no_eigenvalue_beside_the_two():
    layer = FastWeights(1, 1, layer_norm=False, decay=0.9).double()
    found = fast_weights_dynamics(layer, torch.zeros(1, 1, 1).double())
    torch.testing.assert_close(found.spectral_radius[0, 0], found.eigenvalues[0, 0].abs().max())


def test_picture():
    time, plane = fast_weights_dynamics(make(), torch.randn(2, 5, 2).double()).plot()
    assert time.get_ylabel() == "factor"
    assert "h, A" in plane.get_title()


@pytest.mark.filterwarnings("ignore::remanence.nn.FastWeightsGrowthWarning")
def test_overflow_is_said_so():
    layer = FastWeights(1, 2, layer_norm=False, fast_learning_rate=2.0).double()
    with torch.no_grad():
        layer.weight_ih.fill_(9.0)
    with pytest.raises(ValueError, match=r"grow beyond .* step \d+ .*layer_norm=True"):
        fast_weights_dynamics(layer, torch.ones(1, 60, 1).double())


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match="FastWeights layer, got Elman"):
        fast_weights_dynamics(Elman(2, 5), torch.randn(1, 4, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"\[batch, time, 2\].*\[1, 4, 3\]"):
        fast_weights_dynamics(make(), torch.randn(1, 4, 3).double())
    with pytest.raises(ValueError, match="at least the layer's inner_steps, 3; got 2"):
        trace_path(make(inner_steps=3), torch.randn(1, 4, 2).double(), 2)
