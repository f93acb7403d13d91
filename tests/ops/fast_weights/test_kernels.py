"""The kernel of fast weights against the plain loop: values and gradients."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.nn import FastWeights
from remanence.ops.episodes import Episodes
from remanence.ops.fast_weights import cpu, reference
from remanence.ops.fast_weights import operation as evolution
from remanence.ops.fast_weights.reference import Rule

Nonlinearity = Literal["relu", "tanh"]


def drawn(
    size, time, batch, *, seed=0, dtype=torch.float64, norm=True, nonlinearity: Nonlinearity = "relu", inner_steps=1
):
    """A rule, the drive, h and A."""
    torch.manual_seed(seed)
    number = {"dtype": dtype, "requires_grad": True}
    W = (0.5 * size**-0.5 * torch.randn(size, size, dtype=dtype)).requires_grad_()
    gain, shift = ((0.5 + torch.rand(size, dtype=dtype)).requires_grad_() if norm else None for _ in range(2))
    # Without a layer norm it grows like a power of a power unless little is written.
    little = 1.0 if norm else 0.002 / size
    rates = torch.tensor(0.9, **number), torch.tensor(0.4 * little, **number)
    rule = Rule(W, gain, shift, *rates, inner_steps, nonlinearity, 1e-5 if norm else 0.0)
    drive = torch.rand(batch, time, size, **number)
    past = torch.randn(batch, 3, size, dtype=dtype)
    return rule, drive, torch.randn(batch, size, **number), little * past.mT @ past


def wanted(rule, drive, h):
    return [tensor for tensor in (*rule[:5], drive, h) if tensor is not None]


def drawn_episodes(drive, h, A, *, ends=True):
    """Resets at a third of the steps; the first sample is whole, and the last has no step, if there are several."""
    batch, time = drive.shape[:2]
    lengths = torch.randint(0, time + 1, (batch,))
    lengths[0] = time
    if batch > 1:
        lengths[-1] = 0
    reset = torch.rand(batch, time) < 1 / 3
    return Episodes(reset, (torch.zeros_like(h), torch.zeros_like(A)), lengths if ends else None)


def assert_same(rule, drive, h, A, tolerance=1e-9, episodes=None):
    assert evolution.can_run(rule, drive, h, A, episodes)
    marks = () if episodes is None else (episodes.reset.long(), episodes.lengths)
    expected = reference.run(rule, drive, h, A, *marks)
    found = evolution.evolve(rule, drive, h, A, episodes)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * expected[1].abs().max().item())
    above = [torch.randn_like(each) for each in expected]
    inputs = wanted(rule, drive, h)
    for theirs, ours in zip(*(torch.autograd.grad(each, inputs, above) for each in (expected, found)), strict=True):
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=scale * tolerance)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 20),
    time=st.integers(1, 12),
    batch=st.integers(1, 5),
    norm=st.booleans(),
    nonlinearity=st.sampled_from(["relu", "tanh"]),
    inner_steps=st.integers(1, 3),
    episodes=st.sampled_from(["one", "resets", "resets and lengths"]),
    seed=st.integers(0, 99),
)
def test_random_networks(size, time, batch, norm, nonlinearity, inner_steps, episodes, seed):
    options = {"norm": norm, "nonlinearity": nonlinearity, "inner_steps": inner_steps}
    rule, drive, h, A = drawn(size, time, batch, seed=seed, **options)
    several = None if episodes == "one" else drawn_episodes(drive, h, A, ends=episodes == "resets and lengths")
    assert_same(rule, drive, h, A, episodes=several)


@pytest.mark.parametrize(("threads", "batch"), [(1, 1), (1, 5), (2, 5)])
def test_float32_and_threads(threads, batch):
    torch.set_num_threads(threads)
    try:
        # tanh: near ReLU's bend a rounding turns a unit on or off.
        assert_same(*drawn(33, 30, batch, dtype=torch.float32, nonlinearity="tanh"), tolerance=1e-3)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_narrow_registers(size, monkeypatch):
    monkeypatch.setattr("remanence._kernels.kernel.vector_width", lambda bits: 128 // bits)
    assert_same(*drawn(size, 6, 2))


@pytest.mark.parametrize("place", [0, 1])
def test_gradients_of_one_result_alone(place):
    given = drawn(6, 5, 2)
    results = [run(*given)[place].sum() for run in (reference.run, evolution.evolve)]
    expected, found = (torch.autograd.grad(result, wanted(*given[:3]), allow_unused=True) for result in results)
    torch.testing.assert_close(found, expected)


def test_any_strides():
    rule, drive, h, A = drawn(7, 5, 3)
    turned = drive.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0).requires_grad_()
    repeated = torch.randn(1, 5, 7, dtype=torch.float64).expand(3, 5, 7).requires_grad_()
    for other in (turned, repeated):
        assert_same(rule, other, h.detach().T.contiguous().T.requires_grad_(), A)


def test_what_lies_in_fresh_memory_does_not_matter(monkeypatch):
    monkeypatch.setattr(cpu, "allocate", lambda *shape, dtype: torch.full(shape, float("nan"), dtype=dtype))
    assert_same(*drawn(5, 7, 3))
    assert_same(*drawn(5, 7, 3, norm=False))
    rule, drive, h, A = drawn(5, 7, 3)
    assert_same(rule, drive, h, A, episodes=drawn_episodes(drive, h, A))


def test_what_stands_behind_the_last_step_does_not_matter():
    rule, drive, h, A = drawn(5, 7, 3)
    episodes = drawn_episodes(drive, h, A)
    assert episodes.lengths is not None
    results = []
    for filling in (0.0, float("nan")):
        x = drive.detach().clone()
        x[1, int(episodes.lengths[1]) :] = filling
        x[2] = filling
        x.requires_grad_()
        y, last = evolution.evolve(rule, x, h, A, episodes)
        results.append((y, last, *torch.autograd.grad(y.sum() + last.sum(), wanted(rule, x, h))))
    torch.testing.assert_close(*results)
    assert all(each.isfinite().all() for each in results[1])


def test_a_reset_to_something_else_than_zero_is_refused():
    rule, drive, h, A = drawn(5, 7, 3)
    episodes = drawn_episodes(drive, h, A)
    assert evolution.can_run(rule, drive, h, A, episodes)
    assert not evolution.can_run(rule, drive, h, A, episodes._replace(reset_state=(h, A)))


def test_gradgradcheck():
    rule, drive, h, A = drawn(3, 3, 2, nonlinearity="tanh")

    for episodes in (None, drawn_episodes(drive, h, A)):

        def run(weight_hh, gain, shift, decay, rate, drive, h, episodes=episodes):
            changed = rule._replace(weight_hh=weight_hh, gain=gain, shift=shift, decay=decay, rate=rate)
            return evolution.evolve(changed, drive, h, A, episodes)

        assert torch.autograd.gradcheck(run, wanted(rule, drive, h))
        assert torch.autograd.gradgradcheck(run, wanted(rule, drive, h))


def layer_and_input(time):
    torch.manual_seed(0)
    return FastWeights(3, 9), torch.randn(4, time, 3)


def saved(layer, x):
    """Numbers kept for the way back."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()), lambda kept: kept):
        layer(x)
    return sum(sizes)


def test_it_keeps_the_root_of_time_of_the_matrices():
    layer, x = layer_and_input(400)
    with torch.no_grad():
        assert saved(layer, x) == 0
    kept, layer.form = saved(layer, x), "matrix"
    matrices = 400 * 4 * 9 * 9
    assert kept < matrices < saved(layer, x)


@pytest.mark.parametrize("time", [1, 2, 30])
def test_the_layer_takes_it_unless_attention_is_cheaper(time, monkeypatch):
    layer, x = layer_and_input(time)
    taken = []
    monkeypatch.setattr(evolution, "evolve", lambda *given: taken.append(True) or reference.run(*given))
    layer(x)
    assert bool(taken) == (time > 1)


@pytest.mark.parametrize("change", ["not symmetric", "a gradient"])
def test_what_it_cannot_do_is_done_by_the_loop(change):
    layer, x = layer_and_input(8)
    A = torch.eye(9).repeat(4, 1, 1)
    if change == "not symmetric":
        A[0, 0, 1] = 2.0
    else:
        A.requires_grad_()
    results = []
    for layer.form in ("auto", "matrix"):
        y, state = layer(x, (torch.zeros(4, 9), A))
        results.append((y, state, torch.autograd.grad(y.sum(), [layer.bias, *([A] if A.requires_grad else [])])))
    torch.testing.assert_close(*results)
