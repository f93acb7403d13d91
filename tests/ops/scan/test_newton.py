"""All time steps at once: what it finds is the loop's trajectory; where it finds none, the loop runs and is counted."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from grammar import assert_same, problems
from hypothesis import HealthCheck, given, settings

import remanence
from remanence.ops.scan import (
    graph_loop,
    linear_recurrence,
    newton,
    reset_scan_statistics,
    scan,
    scan_statistics,
    trajectory,
)
from remanence.ops.scan.backend import load
from remanence.ops.scan.trace import TracedStep


@pytest.fixture(autouse=True)
def plain_fallback(monkeypatch):
    """The fallback is the plain loop over graphs: quick to start, and its answer is known to the last bit."""
    monkeypatch.setattr(newton, "load", lambda name: graph_loop)
    reset_scan_statistics()


def flip_flop(state, inputs, params):
    """A CFF with one sub-step: q and r inhibit each other; w γ decides how bistable they are."""
    (q, r), (for_q, for_r), (capacity, weight, slope) = state, inputs, params
    open_q, open_r = capacity * torch.sigmoid(for_q), capacity * torch.sigmoid(for_r)
    by_r, by_q = weight * torch.sigmoid(slope * (r - 0.5)), weight * torch.sigmoid(slope * (q - 0.5))
    return (
        (capacity * q + 1 + open_q) / (capacity + 1 + by_r + open_q),
        (capacity * r + 1 + open_r) / (capacity + 1 + by_q + open_r),
    )


def flip_flops(weight, slope, time, dtype=torch.float32, capacities=(1.0, 3.0, 10.0, 30.0), batch=2, drive=2.0):
    generator = torch.Generator().manual_seed(0)
    channels = len(capacities)
    noise = [torch.randn(batch, time, channels, generator=generator, dtype=torch.float64) for _ in range(2)]
    inputs = [drive * x - 2 for x in noise]
    state = [torch.full((batch, channels), start) for start in (0.9, 0.3)]
    params = [torch.tensor(capacities), torch.full((channels,), weight), torch.full((channels,), slope)]
    return tuple(tuple(x.to(dtype) for x in group) for group in (inputs, state, params))


def traced(step, inputs, state, params):
    batch, _, channels = inputs[0].shape
    return TracedStep(step, (len(state), len(inputs), len(params)), batch, channels, inputs[0].dtype)


def searched(step, inputs, state, params):
    recorded = traced(step, inputs, state, params)
    expected = torch.stack(graph_loop.forward(recorded, inputs, state, params))
    return trajectory.search(recorded, inputs, state, params), expected


@pytest.mark.parametrize("time", [64, 512])
@pytest.mark.parametrize(("weight", "slope"), [(1.0, 4.0), (2.0, 8.0), (2.5, 8.0)])
def test_mildly_bistable_flip_flops_take_few_iterations(weight, slope, time):
    outcome, expected = searched(flip_flop, *flip_flops(weight, slope, time))
    assert outcome.failure is None
    assert outcome.iterations <= 7
    assert outcome.residual <= 64 * torch.finfo(torch.float32).eps
    torch.testing.assert_close(outcome.states, expected, rtol=1e-5, atol=2e-6)


def test_the_number_of_iterations_does_not_grow_with_time():
    outcome, expected = searched(flip_flop, *flip_flops(2.0, 8.0, 4096, batch=1, capacities=(3.0, 30.0)))
    assert outcome.iterations <= 7
    torch.testing.assert_close(outcome.states, expected, rtol=1e-5, atol=2e-6)


def test_float64_is_solved_to_float64():
    outcome, expected = searched(flip_flop, *flip_flops(2.0, 8.0, 512, torch.float64))
    assert outcome.iterations <= 7
    torch.testing.assert_close(outcome.states, expected, rtol=1e-13, atol=1e-13)


def leaky(state, inputs, params):
    (h,), (x,), (a,) = state, inputs, params
    return (a * h + x,)


def coupled(state, inputs, params):
    (h, g), (x,), (a,) = state, inputs, params
    return a * h - 0.5 * g + x, 0.5 * h + a * g


@pytest.mark.parametrize(("step", "states"), [(leaky, 1), (coupled, 2)])
def test_linear_steps_take_one_iteration(step, states):
    inputs, state = (torch.randn(2, 300, 3),), (torch.randn(2, 3),) * states
    outcome, expected = searched(step, inputs, state, (torch.tensor([0.8, 0.5, -0.7]),))
    assert outcome.iterations == 1
    torch.testing.assert_close(outcome.states, expected, rtol=1e-4, atol=1e-4)


def test_one_step_and_a_resting_state_take_none():
    assert searched(flip_flop, *flip_flops(2.0, 8.0, 1))[0].iterations == 0
    zeros = torch.zeros(2, 100, 3)
    outcome, _ = searched(leaky, (zeros,), (zeros[:, 0],), (torch.full((3,), 0.9),))
    assert outcome.iterations == 0
    assert outcome.states is not None
    assert not outcome.states.any()


def logistic(state, inputs, params):
    (h,), (x,), (r,) = state, inputs, params
    return (r * h * (1 - h) + x,)


def chaotic(time):
    state = torch.tensor([[0.3, 0.41]], dtype=torch.float64)
    return (torch.zeros(1, time, 2, dtype=torch.float64),), (state,), (torch.full((2,), 4.0, dtype=torch.float64),)


def strongly_bistable():
    return flip_flops(8.0, 16.0, 512, capacities=(5.0, 8.0, 12.0, 20.0), drive=6.0)


def not_a_number():
    inputs, state, params = flip_flops(2.0, 8.0, 40)
    inputs[0][1, 20, 2] = float("nan")
    return inputs, state, params


@pytest.mark.parametrize(
    ("step", "problem", "reason"),
    [
        (logistic, chaotic(512), "not converged"),
        (flip_flop, strongly_bistable(), "not converged"),
        (flip_flop, not_a_number(), "not finite"),
    ],
    ids=["chaotic", "strongly bistable", "NaN"],
)
def test_the_loop_answers_where_the_search_fails(step, problem, reason):
    expected = graph_loop.forward(traced(step, *problem), *problem)
    states, final = scan(step, *problem, backend="newton")
    torch.testing.assert_close(states, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(final, tuple(x[:, -1] for x in expected), rtol=0, atol=0, equal_nan=True)
    assert scan_statistics().calls == 1
    assert scan_statistics().fallbacks == {reason: 1}


def test_one_element_that_fails_leaves_no_element_wrong():
    (x,), (h,), (r,) = chaotic(300)
    r = torch.tensor([4.0, 2.5], dtype=torch.float64)  # the second channel settles
    assert searched(logistic, (x,), (h,), (r,))[0].failure == "not converged"
    assert searched(logistic, (x[..., 1:],), (h[:, 1:],), (r[1:],))[0].failure is None
    expected = graph_loop.forward(traced(logistic, (x,), (h,), (r,)), (x,), (h,), (r,))
    torch.testing.assert_close(scan(logistic, [x], [h], [r], backend="newton")[0], expected, rtol=0, atol=0)


@pytest.mark.parametrize(("refusal", "by"), [(None, "fused"), ("an operation that it lacks", "plain")])
def test_the_fallback_is_the_fused_loop_where_it_applies(monkeypatch, refusal, by):
    def fused(*arguments):
        ran.append("fused")
        return graph_loop.forward(*arguments)

    ran = []
    backend = SimpleNamespace(
        refuses=lambda traced, like: refusal, forward=fused, backward=graph_loop.backward, source=graph_loop.source
    )
    monkeypatch.setattr(newton, "load", {"cpu": backend}.get)
    scan(logistic, *chaotic(64), backend="newton")
    assert (ran or ["plain"]) == [by]


def test_the_compiled_loop_answers_to_the_last_bit(monkeypatch):
    monkeypatch.setattr(newton, "load", load)
    results = [scan(logistic, *chaotic(512), backend=backend) for backend in ("cpu", "newton")]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    assert scan_statistics().fallbacks == {"not converged": 1}


def cubic(state, inputs, params):
    (h,), (x,) = state, inputs
    return (1.5 * h - 0.3 * h**3 + x,)


def test_damping_saves_a_search_that_overflows(monkeypatch):
    noise = torch.randn(2, 256, 4, generator=torch.Generator().manual_seed(0))
    problem = (0.1 * noise,), (torch.full((2, 4), 0.5),), ()
    outcome, expected = searched(cubic, *problem)
    torch.testing.assert_close(outcome.states, expected)
    monkeypatch.setattr(trajectory, "MAY_GROW", float("inf"))
    assert searched(cubic, *problem)[0].failure is not None


def threshold(state, inputs, params):
    """What is above one half counts, a billionth more or less."""
    (h,), (gain, offset, counts) = state, inputs
    return (gain * h + offset + torch.where(h > 0.5, counts, 0.0),)


def test_a_small_newton_step_is_not_enough():
    over_time = torch.tensor([[0.0, 2e-9, 0.0], [1.0, 0.5 - 1e-9, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    inputs, state = tuple(x.reshape(1, 3, 1) for x in over_time), (torch.zeros(1, 1, dtype=torch.float64),)
    recorded = traced(threshold, inputs, state, ())
    system = trajectory.System(recorded, inputs, state, ())
    first = system.point(system.step(system.constant()))
    step = linear_recurrence.solve(first.jacobian, first.residual)
    expected = torch.stack(graph_loop.forward(recorded, inputs, state, ()))
    assert step.abs().max() < 1e-8
    assert (first.states + step - expected).abs().max() == 1
    assert trajectory.search(recorded, inputs, state, ()).failure == "not converged"
    torch.testing.assert_close(scan(threshold, inputs, state, (), backend="newton")[0][0], expected[0], rtol=0, atol=0)


def test_a_small_residual_is_not_enough(monkeypatch):
    """Rounding errors of a chaotic step, each as small as they come, lead to another trajectory."""
    inputs, state, params = problem = chaotic(150)
    noise = 1e-16 * torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    recorded = traced(logistic, *problem)
    expected = graph_loop.forward(recorded, *problem)
    other = graph_loop.forward(recorded, (noise,), state, params)
    path = trajectory.System(recorded, *problem).path(torch.stack(other))
    monkeypatch.setattr(trajectory.System, "constant", lambda system: path)
    point = trajectory.System(recorded, *problem).point(torch.stack(other))
    assert point.size.max() < 1e-15
    assert (other[0] - expected[0]).abs().max() > 0.5
    torch.testing.assert_close(scan(logistic, *problem, backend="newton")[0], expected, rtol=0, atol=0)
    assert scan_statistics().fallbacks == {"ill-conditioned": 1}


def many(states):
    """A step of this many states, each fed by the others, with a Jacobian in which no entry is zero."""

    def step(state, inputs, params):
        mean = sum(state) / states
        (x,), (a,) = inputs, params
        return tuple(torch.tanh((a - 0.1 * i) * h + 0.2 * mean * mean + x * (i + 1)) for i, h in enumerate(state))

    return step


def drawn(states, batch, time, channels):
    generator = torch.Generator().manual_seed(0)

    def tensor(*shape):
        return (0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()

    return [tensor(batch, time, channels)], [tensor(batch, channels) for _ in range(states)], [tensor(channels)]


@pytest.mark.parametrize("time", [1, 2, 3, 17, 63])
@pytest.mark.parametrize("states", [1, 2, 3, 4, 5])
def test_values_and_gradients(states, time):
    inputs, state, params = drawn(states, 3, time, 5)
    results = []
    for backend in ("reference", "newton"):
        over_time, final = scan(many(states), inputs, state, params, backend=backend)
        losses = [*((x * (i + 1)).cos().sum() for i, x in enumerate(over_time)), *(x.square().sum() for x in final)]
        loss = torch.stack(losses).sum()
        results.append([*over_time, *final, *torch.autograd.grad(loss, [*inputs, *state, *params])])
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-10)
    assert not scan_statistics().fallbacks


@pytest.mark.parametrize("states", [1, 2, 3, 4, 5])
def test_gradcheck(states):
    def run(*tensors):
        over_time, final = scan(many(states), tensors[:1], tensors[1:-1], tensors[-1:], backend="newton")
        return *over_time, *final

    inputs, state, params = drawn(states, 1, 4, 2)
    assert torch.autograd.gradcheck(run, (*inputs, *state, *params))
    assert not scan_statistics().fallbacks


@pytest.mark.parametrize("checkpoint_every", [None, 7])
@pytest.mark.parametrize("wanted", [[0], [1], [3], [4, 2], [6]])
def test_only_some_gradients(wanted, checkpoint_every):
    inputs, state, params = flip_flops(2.0, 8.0, 30, torch.float64)
    everything = [x.requires_grad_(i in wanted) for i, x in enumerate((*inputs, *state, *params))]
    grads = []
    for backend in ("reference", "newton"):
        states, final = scan(flip_flop, inputs, state, params, backend=backend, checkpoint_every=checkpoint_every)
        grads.append(torch.autograd.grad(states[0].square().sum() + final[1].sum(), [everything[i] for i in wanted]))
    torch.testing.assert_close(grads[0], grads[1])


def test_gradients_in_float32_over_a_long_time():
    inputs, state, params = flip_flops(2.0, 8.0, 512)
    wanted = [x.requires_grad_() for x in (*inputs, *state, *params)]
    grads = [
        torch.autograd.grad(scan(flip_flop, inputs, state, params, backend=backend)[0][0].square().sum(), wanted)
        for backend in ("reference", "newton")
    ]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-4)
    assert not scan_statistics().fallbacks


@pytest.mark.usefixtures("graph_backend")
def test_gradients_that_overflow_are_the_loops():
    grads = []
    for backend in ("graph", "newton"):
        wanted = [x.requires_grad_() for x in chaotic(1200)[1]]
        inputs, _, params = chaotic(1200)
        states, _ = scan(logistic, inputs, wanted, params, backend=backend)  # pyright: ignore[reportArgumentType]
        grads.append(torch.autograd.grad(states[0].sum(), wanted))
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=0, equal_nan=True)
    assert scan_statistics().fallbacks == {"not converged": 1, "gradients": 1}


def gated(state, inputs, params):
    return (state[0] * inputs[0],)


@pytest.mark.usefixtures("graph_backend")
def test_a_product_of_jacobians_that_overflows_spoils_nothing():
    """Steps 40 and 41 would multiply by more than there is room for, had step 39 not wiped the state."""
    x = torch.ones(1, 64, 1).index_fill(1, torch.tensor([40, 41]), 1e30).index_fill(1, torch.tensor([39]), 0.0)
    results = []
    for backend in ("graph", "newton"):
        wanted = x.clone().requires_grad_(), torch.zeros(1, 1, requires_grad=True)
        states, _ = scan(gated, wanted[:1], wanted[1:], backend=backend)  # pyright: ignore[reportArgumentType]
        results.append([*states, *torch.autograd.grad(states[0][:, 20].sum(), wanted)])
        assert all(x.isfinite().all() for x in results[-1])
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    assert scan_statistics().fallbacks["gradients"] == 1


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems(max_states=5))
def test_random_steps(problem):
    assert_same(replace(problem, shape=(2, 33, 3)), "newton")


def test_half_precision_is_refused():
    half = [torch.zeros(shape, dtype=torch.bfloat16) for shape in ((2, 4, 3), (2, 3), (3,))]
    with pytest.raises(ValueError, match=r"newton.*torch.bfloat16 is too coarse"):
        scan(leaky, [half[0]], [half[1]], [half[2]], backend="newton")


def test_statistics_count_until_reset():
    scan(flip_flop, *flip_flops(2.0, 8.0, 64), backend="newton")
    scan(logistic, *chaotic(64), backend="newton")
    counted = scan_statistics()
    assert counted.calls == 2
    assert counted.iterations > 4
    assert counted.fallbacks == {"not converged": 1}
    reset_scan_statistics()
    assert scan_statistics().calls == scan_statistics().iterations == 0
    assert counted.calls == 2
    assert not scan_statistics().fallbacks


def test_source_shows_the_jacobian():
    text = remanence.scan_source(flip_flop, *flip_flops(2.0, 8.0, 4), backend="newton")
    assert "Jacobian" in text
