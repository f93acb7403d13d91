"""Ridge regression over time against sums written out and NumPy's least squares."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from remanence.ops.mesa import operation, reference

BATCH, HEADS, KEY, VALUE = 2, 2, 3, 4


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(operation, "CHUNK", 8)


def draw(time, dtype=torch.float64):
    q, k, v = (torch.randn(BATCH, time, HEADS, size, dtype=dtype) for size in (KEY, KEY, VALUE))
    beta, log_decay = torch.rand(BATCH, time, HEADS, dtype=dtype), -torch.rand(BATCH, time, HEADS, dtype=dtype)
    ridge = 0.25 + torch.rand(HEADS, KEY, dtype=dtype)
    G, k_0 = torch.randn(BATCH, HEADS, VALUE, KEY, dtype=dtype), torch.randn(BATCH, HEADS, KEY, KEY, dtype=dtype)
    tensors = q, F.normalize(k, dim=-1), v, beta, log_decay, ridge, torch.cat((G, k_0 @ k_0.mT), -2)
    return [tensor.requires_grad_() for tensor in tensors]


def with_gradients(function, tensors, reset=None):
    y, last = function(*tensors, reset=reset)
    generator = torch.Generator().manual_seed(3)
    above = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for x in (y, last)]
    return y, last, *torch.autograd.grad((y, last), tensors, above)


@pytest.mark.parametrize("time", [1, 7, 8, 9, 21])
@pytest.mark.parametrize("resets", [False, True])
def test_chunks_equal_the_loop(time, resets):
    tensors, reset = draw(time), torch.rand(BATCH, time) < 0.2 if resets else None
    found = with_gradients(operation.run_in_chunks, tensors, reset)
    torch.testing.assert_close(found, with_gradients(reference.run, tensors, reset))


@pytest.mark.parametrize("function", [operation.run_in_chunks, reference.run])
def test_it_is_ridge_regression(function):
    """Least squares over all steps up to now, weighted, and over rows √λ, which ask for an answer of 0."""
    time = 13
    q, k, v, beta, log_decay, ridge, state = (tensor.detach() for tensor in draw(time))
    y, _ = function(q, k, v, beta, log_decay, ridge, torch.zeros_like(state))
    for sample in range(BATCH):
        for head in range(HEADS):
            for t in (0, 6, time - 1):
                past = log_decay[sample, : t + 1, head].numpy()
                fades = np.exp(np.array([past[s + 1 :].sum() for s in range(t + 1)]))
                weight = np.sqrt(beta[sample, : t + 1, head].numpy() * fades)[:, None]
                keys = np.concatenate(
                    [weight * k[sample, : t + 1, head].numpy(), np.diag(np.sqrt(ridge[head].numpy()))]
                )
                values = np.concatenate([weight * v[sample, : t + 1, head].numpy(), np.zeros((KEY, VALUE))])
                best = np.linalg.lstsq(keys, values, rcond=None)[0]
                torch.testing.assert_close(y[sample, t, head], torch.from_numpy(q[sample, t, head].numpy() @ best))


def test_second_derivatives():
    tensors = [tensor[:1].detach() if tensor.shape[0] == BATCH and tensor.ndim > 2 else tensor for tensor in draw(9)]
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(operation.run_in_chunks, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(operation.run_in_chunks, tensors, fast_mode=True)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_does_not_reach_the_steps_before(value):
    tensors = [tensor.detach() for tensor in draw(12)]
    tensors[2][0, 7, 0, 0] = value
    y, last = operation.evolve(*tensors)
    assert torch.isfinite(y[:, :7]).all()
    assert torch.isfinite(y[1]).all()
    torch.testing.assert_close((y, last), reference.run(*tensors), equal_nan=True)
