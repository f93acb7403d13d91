"""The delta rule in chunks against the equations of the papers, with matrices written out."""

import math

import pytest
import torch
from torch.nn import functional as F

from remanence.ops.delta_rule import chunked, reference
from remanence.ops.delta_rule.operation import evolve

BATCH, HEADS, KEY, VALUE = 2, 2, 4, 5
CASES = [(1, 1), (7, 1), (8, 1), (9, 1), (21, 1), (5, 2), (13, 3), (3, 11)]


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK", 8)


def draw(time, writes, *, decays=False, dtype=torch.float64):
    """Queries, keys of length 1, values, β from 0 to 2, a state, log α."""

    def normal(*shape):
        return torch.randn(*shape, dtype=dtype)

    k = F.normalize(normal(BATCH, time, writes, HEADS, KEY), dim=-1)
    tensors = [normal(BATCH, time, HEADS, KEY), k, normal(BATCH, time, writes, HEADS, VALUE)]
    tensors += [2 * torch.rand(BATCH, time, writes, HEADS, dtype=dtype), normal(BATCH, HEADS, VALUE, KEY)]
    if decays:
        tensors.append(-2 * torch.rand(BATCH, time, HEADS, dtype=dtype))
    return [tensor.requires_grad_() for tensor in tensors]


def multiply_out(q, k, v, beta, state, log_decay=None, reset=None):
    """S_t = α_t S_{t-1} (I - β_t k_t k_tᵀ) + β_t v_t k_tᵀ, each head and sample with its matrices."""
    S, outputs = state, []
    for t in range(q.shape[1]):
        if reset is not None:
            S = S * (~reset[:, t]).to(S.dtype)[:, None, None, None]
        if log_decay is not None:
            S = S * torch.exp(log_decay[:, t])[..., None, None]
        for j in range(k.shape[2]):
            outer = torch.einsum("bh,bhi,bhj->bhij", beta[:, t, j], k[:, t, j], k[:, t, j])
            S = S @ (torch.eye(KEY, dtype=S.dtype) - outer)
            S = S + torch.einsum("bh,bhi,bhj->bhij", beta[:, t, j], v[:, t, j], k[:, t, j])
        outputs.append(torch.einsum("bhij,bhj->bhi", S, q[:, t]))
    return torch.stack(outputs, 1), S


def with_gradients(function, tensors, reset=None):
    y, last = function(*tensors, reset=reset)
    generator = torch.Generator().manual_seed(3)
    above = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for x in (y, last)]
    return y, last, *torch.autograd.grad((y, last), tensors, above)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("form", [chunked.run, reference.run])
@pytest.mark.parametrize(("time", "writes"), CASES)
@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("resets", [False, True])
def test_values_and_gradients(form, time, writes, decays, resets):
    tensors = draw(time, writes, decays=decays)
    reset = torch.rand(BATCH, time) < 0.2 if resets else None
    torch.testing.assert_close(with_gradients(form, tensors, reset), with_gradients(multiply_out, tensors, reset))


def test_chunks_of_the_real_size():
    tensors = draw(150, 1, decays=True)
    torch.testing.assert_close(with_gradients(evolve, tensors), with_gradients(multiply_out, tensors))


@pytest.mark.usefixtures("small_chunks")
def test_single_precision():
    tensors = draw(100, 1, decays=True, dtype=torch.float32)
    wide = [tensor.detach().double().requires_grad_() for tensor in tensors]
    for found, expected in zip(with_gradients(chunked.run, tensors), with_gradients(multiply_out, wide), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("least", [-1e4, -1e30, -math.inf])
def test_decays_that_leave_nothing_cost_no_precision(least):
    """One step of a head forgets everything; differences of logarithms would lose the decays behind it."""
    tensors = draw(60, 1, decays=True, dtype=torch.float32)
    with torch.no_grad():
        tensors[-1][:, 20] = least
        tensors[-1][:, 21:] *= 1e-3
    wide = [tensor.detach().double().requires_grad_() for tensor in tensors]
    for found, expected in zip(with_gradients(chunked.run, tensors), with_gradients(reference.run, wide), strict=True):
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("small_chunks")
def test_nothing_passes_a_reset():
    tensors, reset = draw(20, 1, decays=True), torch.zeros(BATCH, 20, dtype=torch.bool)
    reset[:, 11] = True
    y, last = chunked.run(*tensors, reset=reset)
    grads = torch.autograd.grad(y[:, 11:].sum() + last.sum(), tensors)
    for grad in (*grads[:4], grads[5]):
        assert not grad[:, :11].any()
    assert not grads[4].any()
    assert not grads[5][:, 11].any()  # what it decays is 0
    q, k, v, beta, decay = [tensor[:, 11:] for tensor in (*tensors[:4], tensors[5])]
    start = torch.zeros_like(tensors[4])
    torch.testing.assert_close((y[:, 11:], last), chunked.run(q, k, v, beta, start, decay))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("writes", [1, 2])
def test_second_derivatives(writes):
    tensors = [tensor[:1] for tensor in draw(9 // writes, writes, decays=True)]
    reset = torch.arange(9 // writes)[None] == 3

    def run(*tensors):
        return chunked.run(*tensors, reset=reset)

    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(run, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, tensors, fast_mode=True)


@pytest.mark.usefixtures("small_chunks")
def test_vmap_and_forward_mode():
    tensors = [tensor.detach() for tensor in draw(19, 1, decays=True)]
    many = [torch.stack((tensor, tensor / 2)) for tensor in tensors]
    y, _ = torch.func.vmap(chunked.run)(*many)
    torch.testing.assert_close(y[1], chunked.run(*[each[1] for each in many])[0])
    direction = [torch.randn_like(tensor) for tensor in tensors]
    found = torch.func.jvp(lambda *x: chunked.run(*x)[0], tuple(tensors), tuple(direction))[1]
    expected = torch.func.jvp(lambda *x: reference.run(*x)[0], tuple(tensors), tuple(direction))[1]
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.unchecked  # compiled code would contain the checks
def test_it_compiles_and_is_exported_in_one_graph(monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK", 8)
    tensors = [tensor.detach() for tensor in draw(11, 1, decays=True)]
    expected = chunked.run(*tensors)
    torch.testing.assert_close(torch.compile(chunked.run, backend="aot_eager", fullgraph=True)(*tensors), expected)

    class Run(torch.nn.Module):
        def forward(self, *tensors):
            return evolve(*tensors)

    torch.testing.assert_close(torch.export.export(Run(), tuple(tensors)).module()(*tensors), expected)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200])
def test_what_is_not_finite_does_not_reach_the_steps_before(value):
    tensors = [tensor.detach() for tensor in draw(12, 1)]
    tensors[2][0, 7, 0, 0, 0] = value
    y, last = evolve(*tensors)
    expected, expected_last = multiply_out(*tensors)
    assert torch.isfinite(y[:, :7]).all()
    assert torch.isfinite(y[1]).all()
    torch.testing.assert_close((y, last), (expected, expected_last), equal_nan=True)


def test_orthogonal_keys_recall_what_was_stored_last():
    """With β = 1 the value under a key is replaced, and those under other keys stay."""
    keys = torch.eye(4)[[0, 1, 2, 3, 1]][None, :, None, None]
    values = torch.randn(1, 5, 1, 1, 3)
    _, S = chunked.run(keys[:, :, 0], keys, values, torch.ones(1, 5, 1, 1), torch.zeros(1, 1, 3, 4))
    torch.testing.assert_close(S[0, 0].T, values[0, [0, 4, 2, 3], 0, 0])


def test_a_strength_of_two_reflects():
    """β = 2 and v = 0: two reflections, at 0 and then at an angle, turn S back by twice the angle."""
    angle = 0.3
    keys = torch.tensor([[1.0, 0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    k = keys.expand(7, -1, -1)[None, :, :, None]
    S = torch.eye(2, dtype=torch.float64)[None, None]
    zero = torch.zeros(1, 7, 2, 1, 2, dtype=torch.float64)
    _, last = chunked.run(k[:, :, 0], k, zero, torch.full((1, 7, 2, 1), 2.0, dtype=torch.float64), S)
    turn = torch.tensor(7 * 2 * angle, dtype=torch.float64)
    expected = torch.stack([turn.cos(), turn.sin(), -turn.sin(), turn.cos()]).view(2, 2)
    torch.testing.assert_close(last[0, 0], expected)
