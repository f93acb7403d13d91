"""Linear attention and the Performer, against the sums that they avoid."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from remanence.nn.attention.performer import draw_orthogonal_directions


def projected(layer, x):
    return [layer._split(part) for part in layer.project_in(x).chunk(3, -1)]


def by_weights(layer, x, weights):
    """Attention whose unnormalised weights [batch, heads, time, time] are given."""
    weights = weights.tril() if layer.causal else weights
    y = weights @ projected(layer, x)[2] / weights.sum(-1, keepdim=True)
    return layer.project_out(y.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("time", [1, 3, 64, 65, 200])
def test_linear_attention_is_the_sum_over_pairs(make, time, causal):
    layer = make("linear", causal=causal, max_length=None)
    x = torch.randn(2, time, 8, dtype=torch.float64)
    q, k, _ = projected(layer, x)
    weights = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(-1, -2)
    torch.testing.assert_close(layer(x), by_weights(layer, x, weights))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("time", [1, 17, 65])
def test_the_performer_is_the_sum_over_features(make, time, causal):
    layer = make("performer", causal=causal, features=13)
    x = torch.randn(2, time, 8, dtype=torch.float64)
    q, k, _ = (part / layer.directions.shape[1] ** 0.25 for part in projected(layer, x))
    weights = torch.zeros(2, 2, time, time, dtype=torch.float64)
    for w in layer.directions:
        of_q, of_k = (torch.exp(part @ w - part.square().sum(-1) / 2) for part in (q, k))
        weights += of_q[..., None] * of_k[..., None, :]
    torch.testing.assert_close(layer(x), by_weights(layer, x, weights))


@pytest.mark.parametrize("causal", [False, True])
def test_the_error_of_the_performer_falls_with_its_features(make, causal):
    x = torch.randn(2, 50, 16, dtype=torch.float64) / 2
    full = make("full", causal=causal, width=16)
    errors = []
    for features in (16, 64, 256, 1024):
        squares = []
        for seed in range(8):
            torch.manual_seed(seed)
            layer = make("performer", causal=causal, width=16, features=features)
            layer.load_state_dict(full.state_dict(), strict=False)
            squares.append((layer(x) - full(x)).square().mean())
        errors.append(torch.stack(squares).mean().sqrt() / full(x).square().mean().sqrt())
    assert all(more > 1.5 * less for more, less in pairwise(errors)), errors
    assert errors[-1] < 0.05


def test_directions_are_orthogonal_with_lengths_of_normal_vectors():
    directions = draw_orthogonal_directions(20, 8)
    assert directions.shape == (20, 8)
    for group in (directions[:8], directions[8:16], directions[16:]):
        products = group @ group.T
        torch.testing.assert_close(products, products.diag().diag(), rtol=0, atol=1e-5)
    lengths = draw_orthogonal_directions(80_000, 8).square().sum(1)  # chi-square of 8: mean 8, variance 16
    assert abs(lengths.mean() - 8) < 0.1
    assert abs(lengths.var() - 16) < 0.5
    assert draw_orthogonal_directions(80_000, 8).mean(0).abs().max() < 0.02  # no direction is preferred to its opposite


def test_the_performer_draws_anew_in_training_alone(make):
    layer = make("performer", redraw_every=3)
    x = torch.randn(1, 4, 8, dtype=torch.float64)
    first = layer.directions.clone()
    for _ in range(5):
        layer(x)
    torch.testing.assert_close(layer.directions, first, rtol=0, atol=0)
    layer.train()
    changes = []
    for _ in range(7):
        before = layer.directions.clone()
        layer(x)
        changes.append(not torch.equal(layer.directions, before))
    assert changes == [False, False, False, True, False, False, True]


def test_large_scores_overflow_nowhere(make):
    x = 1e3 * torch.randn(2, 20, 8)
    for causal in (False, True):
        layer = make("performer", causal=causal).float()
        assert torch.isfinite(layer(x)).all()
