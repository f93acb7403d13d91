"""The firing kernels against the plain loop, neuron by neuron: values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from remanence import wiring
from remanence.ops.episodes import Episodes
from remanence.ops.firing import reference
from remanence.ops.firing.firing_schedule import Schedule
from remanence.ops.firing.operation import fire
from remanence.ops.scan import UntraceableWarning


def drawn(neurons, time, batch, *, density=0.3, function=torch.relu, ticks=1, keep=1.0, seed=0, dtype=torch.float64):
    """A schedule; drive, state, weights for each edge."""
    torch.manual_seed(seed)
    graph = wiring.random(neurons, density, seed=seed)
    schedule = Schedule(graph, wiring.firing_order(graph, "random", seed), function, ticks, keep)
    shapes = (neurons, time, batch), (neurons, batch), (len(graph.edges),)
    tensors = [torch.randn(shape, dtype=dtype) for shape in shapes]
    tensors[2] /= (density * neurons) ** 0.5
    return schedule, [tensor.requires_grad_() for tensor in tensors]


def one_by_one(schedule, drive, state, matrix, *anew):
    return reference.fire(schedule, [[neuron] for neuron in schedule.order.tolist()], drive, state, matrix, *anew)


def assert_same(schedule, drive, state, weight, *, rtol=1e-9):
    """The loop on the matrix, the kernel for it, and the kernel for edges."""
    matrix = schedule.matrix(weight).detach().requires_grad_()
    expected = one_by_one(schedule, drive, state, matrix)
    above, above_final = torch.randn_like(expected), torch.randn_like(state)
    (of_drive, of_state, of_matrix) = torch.autograd.grad(
        [expected, expected[:, -1]], [drive, state, matrix], [above, above_final], allow_unused=True
    )
    receiver, sender = schedule.edges.T
    for form, of_form in ((matrix, of_matrix.fill_diagonal_(0)), (weight, of_matrix[receiver, sender])):
        values, final = fire(schedule, drive, state, form)
        torch.testing.assert_close((values, final), (expected, expected[:, -1]), rtol=rtol, atol=rtol)
        grads = torch.autograd.grad([values, final], [drive, state, form], [above, above_final])
        scale = of_matrix.abs().max().item() + 1
        torch.testing.assert_close(grads, (of_drive, of_state, of_form), rtol=rtol, atol=rtol * scale)


@settings(max_examples=40, deadline=None)
@given(
    neurons=st.integers(1, 30),
    time=st.integers(1, 6),
    batch=st.integers(1, 20),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    ticks=st.integers(1, 3),
    keep=st.sampled_from([1.0, 0.7]),
    seed=st.integers(0, 99),
)
def test_samples_that_begin_anew(neurons, time, batch, density, ticks, keep, seed):
    schedule, (drive, state, weight) = drawn(
        neurons, time, batch, density=density, ticks=ticks, keep=keep, seed=seed, function=torch.tanh
    )
    first, reset = torch.randn_like(state).requires_grad_(), torch.rand(batch, time) < 0.4
    matrix = schedule.matrix(weight).detach().requires_grad_()
    expected = one_by_one(schedule, drive, state, matrix, reset.T.to(drive.dtype), first)
    above, tensors = torch.randn_like(expected), [drive, state, first]
    *others, of_matrix = torch.autograd.grad(expected, [*tensors, matrix], above, allow_unused=True)
    others = [torch.zeros_like(x) if g is None else g for g, x in zip(others, tensors, strict=True)]
    receiver, sender = schedule.edges.T
    for form, of_form in ((matrix, of_matrix.fill_diagonal_(0)), (weight, of_matrix[receiver, sender])):
        values, final = fire(schedule, drive, state, form, "cpu", Episodes(reset, (first,)))
        torch.testing.assert_close((values, final), (expected, expected[:, -1]))
        grads = torch.autograd.grad(values, [*tensors, form], above)
        torch.testing.assert_close(grads, (*others, of_form))


@settings(max_examples=40, deadline=None)
@given(
    neurons=st.integers(1, 40),
    time=st.integers(1, 6),
    batch=st.integers(1, 20),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    ticks=st.integers(1, 3),
    keep=st.sampled_from([1.0, 0.7]),
    seed=st.integers(0, 99),
)
def test_random_networks(neurons, time, batch, density, ticks, keep, seed):
    assert_same(*unpacked(drawn(neurons, time, batch, density=density, ticks=ticks, keep=keep, seed=seed)))


def unpacked(problem):
    schedule, tensors = problem
    return schedule, *tensors


def test_another_function():
    assert_same(*unpacked(drawn(20, 5, 3, function=F.gelu)))


@pytest.mark.parametrize(("threads", "batch"), [(1, 1), (1, 70), (2, 70)])
def test_float32_and_threads(threads, batch):
    torch.set_num_threads(threads)
    try:
        assert_same(*unpacked(drawn(33, 20, batch, dtype=torch.float32, function=torch.tanh)), rtol=2e-4)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("order", ["index", "random", "topology"])
@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_levels_equal_one_by_one(density, order):
    graph = wiring.random(60, density, seed=2)
    schedule = Schedule(graph, wiring.firing_order(graph, order), torch.tanh, 1, 1.0)
    drive, state = torch.randn(60, 5, 2, dtype=torch.float64), torch.randn(60, 2, dtype=torch.float64)
    matrix = schedule.matrix(torch.randn(len(graph.edges), dtype=torch.float64) / 3)
    together = reference.fire(schedule, schedule.levels, drive, state, matrix)
    assert len(schedule.levels) < 60
    torch.testing.assert_close(together, one_by_one(schedule, drive, state, matrix))


def test_any_strides():
    schedule, (drive, state, weight) = drawn(7, 5, 6)
    turned = drive.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0).requires_grad_()
    repeated = torch.randn(7, 1, 1, dtype=torch.float64).expand(7, 5, 6).requires_grad_()
    for other in (turned, repeated):
        assert_same(schedule, other, state.detach().T.contiguous().T.requires_grad_(), weight)


def test_what_cannot_be_fused_runs_as_the_plain_loop():
    schedule, (drive, state, weight) = drawn(5, 3, 4, function=lambda z: z.flip(0).cumsum(0))
    with pytest.warns(UntraceableWarning, match="cumsum|flip"):
        values, _ = fire(schedule, drive, state, weight)
    assert values.shape == drive.shape
