import math

import pytest
import torch
from scipy.stats import norm, ttest_1samp
from torch import nn

from remanence.analysis import RetentionCurve, as_step, memory_capacity, retention


def register(size, channels=1):
    """Holds its last inputs, and no others."""
    return as_step(
        lambda x_t, h: torch.cat([x_t, h[:, :-channels]], 1), state=torch.zeros(1, size * channels), input_size=channels
    )


def leak(a, channels=1):
    return as_step(lambda x_t, h: a * h + x_t.sum(-1, keepdim=True), state=torch.zeros(1, 1), input_size=channels)


def test_capacity_of_a_shift_register_is_what_it_holds():
    curve = memory_capacity(register(6), range(10), trials=2)
    torch.testing.assert_close(curve.mean[:6], torch.ones(6).double(), atol=1e-6, rtol=0)
    assert (curve.mean[6:] < 0.02).all()
    assert math.isclose(curve.area.mean(), 6, abs_tol=0.05)
    assert 5 < curve.half_life < 6


def test_capacity_of_a_leaky_unit():
    k = torch.arange(20)
    curve = memory_capacity(leak(0.8), range(20), steps=6000)
    expected = 0.36 * 0.8 ** (2 * k)  # (1 - a²) a^2k
    torch.testing.assert_close(curve.mean, expected.double(), atol=0.02, rtol=0)
    low, high = curve.band(0.999)
    assert ((low <= expected + 2e-3) & (expected - 2e-3 <= high)).double().mean() > 0.9
    exact = RetentionCurve(k, expected[None].double(), 0.0, "squared correlation")
    assert math.isclose(exact.half_life, math.log(0.5) / math.log(0.64), abs_tol=0.06)


def test_capacity_of_an_orthogonal_network_is_its_size():
    w, _ = torch.linalg.qr(torch.randn(12, 12).double())
    v = torch.randn(12).double()
    step = as_step(lambda x_t, h: 0.9 * h @ w.T + x_t * v, state=torch.zeros(1, 12).double(), input_size=1)
    curve = memory_capacity(step, range(100), steps=8000, trials=1)
    assert 11.6 < curve.area < 12.2


@pytest.mark.slow
def test_noise_and_distractors_take_their_share():
    def at_zero(**options):
        return memory_capacity(leak(0.8, 2), [0], steps=6000, **options).mean.item()

    variance = 1 / 3
    assert math.isclose(at_zero(), 0.36, abs_tol=0.02)
    assert math.isclose(at_zero(state_noise=0.5), 0.36 * variance / (variance + 0.25), abs_tol=0.02)
    assert math.isclose(at_zero(distractors=1.0), 0.18, abs_tol=0.02)


def test_a_symbol_in_a_leaky_unit_is_read_as_often_as_the_normal_distribution_says():
    a, σ = 0.9, 0.3
    curve = retention(
        leak(a), torch.tensor([[1.0], [-1.0]]), [0, 5, 10, 20], noise=σ, samples=4000, trials=2, washout=100
    )
    expected = [norm.cdf(a**k / (σ / math.sqrt(1 - a * a))) for k in (0, 5, 10, 20)]
    torch.testing.assert_close(curve.mean, torch.tensor(expected).double(), atol=0.025, rtol=0)
    assert curve.chance == 0.5


def test_a_register_of_symbols_forgets_at_once_whatever_follows():
    for distractors in (False, True):
        curve = retention(register(4, 5), delays=[1, 3, 4, 8], distractors=distractors, noise=0.05, trials=2)
        assert curve.mean[:2].tolist() == [1, 1]
        assert (curve.mean[2:] < 0.35).all()
        assert curve.chance == 0.2
        assert 3 < curve.half_life < 4


def test_distractors_hurt_a_sum():
    total = as_step(lambda x_t, h: h + x_t, state=torch.zeros(1, 3), input_size=3)
    silent, disturbed = (retention(total, delays=[1, 10], distractors=d, noise=0.01, washout=0) for d in (False, True))
    assert silent.mean[1] == 1
    assert disturbed.mean[1] < 0.7


def test_band_is_that_of_the_t_test():
    curve = RetentionCurve(torch.tensor([1]), torch.tensor([[0.2], [0.5], [0.4]], dtype=torch.float64), 0.0, "accuracy")
    low, high = curve.band()
    expected = ttest_1samp([0.2, 0.5, 0.4], 0).confidence_interval(0.95)
    assert math.isclose(low, expected.low)
    assert math.isclose(high, expected.high)


def test_half_life_and_area_over_chance():
    values = torch.tensor([[1.0, 0.9, 0.6, 0.5]], dtype=torch.float64)
    curve = RetentionCurve(torch.tensor([1, 2, 4, 8]), values, 0.5, "accuracy")
    assert math.isclose(curve.half_life, 3)  # 0.75 between 0.9 at 2 and 0.6 at 4
    assert math.isclose(curve.area, 1 + 0.8 + 2 * 0.2)
    assert RetentionCurve(torch.tensor([1, 2]), values[:, :2], 0.5, "accuracy").half_life == math.inf
    assert math.isnan(RetentionCurve(torch.tensor([1, 2]), 0 * values[:, :2], 0.5, "accuracy").half_life)


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match="nothing to remember"):
        retention(as_step(lambda x, h: h, state=torch.zeros(1, 1)))
    with pytest.raises(ValueError, match="ascending"):
        memory_capacity(nn.GRU(1, 2), [2, 1])
    with pytest.raises(ValueError, match="at most 700"):
        memory_capacity(nn.GRU(1, 2), [2, 1000])
    with pytest.raises(ValueError, match="two different symbols"):
        retention(nn.GRU(1, 2))


def test_picture():
    assert len(memory_capacity(nn.GRU(1, 4).double(), range(1, 5), steps=100, trials=2).plot().lines) >= 2


def test_a_probe_reads_what_it_is_given():
    both = as_step(lambda x_t, h: torch.cat([x_t, h[:, 2:]], 1), state=torch.zeros(1, 4), input_size=2)
    options = {"delays": [0], "samples": 60, "trials": 2, "noise": 0.01}
    assert retention(both, read=lambda h: h[:, :2], **options).mean == 1
    assert retention(both, read=lambda h: h[:, 2:], **options).mean < 0.8  # what never changes tells nothing
