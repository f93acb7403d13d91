import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.ops.scan.linear_recurrence import solve


def looped(a, b, start, reverse):
    """In float64, one step after another."""
    a, b, h = a.double(), b.double(), start.double()
    matrix = a if a.ndim > b.ndim else torch.diag_embed(a.movedim(0, -1)).movedim((-2, -1), (0, 1))
    steps = range(b.shape[-2])
    history = [h] * len(steps)
    for t in reversed(steps) if reverse else steps:
        h = torch.einsum("ij...,j...->i...", matrix[..., t, :], h) + b[..., t, :]
        history[t] = h
    return torch.stack(history, -2)


def drawn(states, diagonal, batch, time, channels, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = () if diagonal else (states,)
    a = torch.randn(*rows, states, batch, time, channels, generator=generator, dtype=dtype) * 0.9 / states**0.5
    b = torch.randn(states, batch, time, channels, generator=generator, dtype=dtype)
    return a, b, torch.randn(states, batch, channels, generator=generator, dtype=dtype)


@given(
    states=st.integers(1, 5),
    diagonal=st.booleans(),
    batch=st.integers(1, 3),
    time=st.integers(1, 300),
    channels=st.integers(1, 4),
    reverse=st.booleans(),
    seed=st.integers(0, 100),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_equals_the_loop(states, diagonal, batch, time, channels, reverse, seed):
    a, b, start = drawn(states, diagonal, batch, time, channels, seed=seed)
    torch.testing.assert_close(solve(a, b, start, reverse=reverse), looped(a, b, start, reverse))


@pytest.mark.parametrize("time", [1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 255, 256, 257, 4097])
@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_around_the_chunks(time, reverse):
    a, b, start = drawn(2, False, 1, time, 2)
    torch.testing.assert_close(solve(a, b, start, reverse=reverse), looped(a, b, start, reverse))


def test_starts_from_zero():
    a, b, start = drawn(3, False, 2, 40, 3)
    torch.testing.assert_close(solve(a, b), looped(a, b, torch.zeros_like(start), False))


def test_float32_stays_close_over_a_long_time():
    a, b, start = drawn(2, False, 1, 4096, 3, torch.float32)
    torch.testing.assert_close(solve(a, b, start), looped(a, b, start, False).float(), rtol=1e-4, atol=1e-4)


def test_an_integrator_counts():
    ones = torch.ones(1, 1, 1000, 1)
    assert solve(ones, ones)[0, 0, :, 0].tolist() == list(range(1, 1001))


def test_strides_do_not_matter():
    a, b, start = drawn(2, False, 3, 50, 4)
    folded_a, folded_b = (x.movedim(-2, 0).contiguous().movedim(0, -2) for x in (a, b))
    torch.testing.assert_close(solve(folded_a, folded_b, start), solve(a, b, start), rtol=0, atol=0)


def test_no_place_is_left_unwritten(monkeypatch):
    monkeypatch.setattr(torch, "empty_like", lambda x, **_: torch.full(x.shape, float("nan"), dtype=x.dtype))
    for time in (1, 16, 47, 300):
        a, b, start = drawn(2, False, 1, time, 2)
        assert solve(a, b, start, reverse=True).isfinite().all()
        assert solve(a, b, start).isfinite().all()
