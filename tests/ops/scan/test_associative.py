"""All time steps of a linear step at once: values and gradients are the loop's; where they cannot be, the loop runs."""

import pytest
import torch
import torch.nn.functional as F

import remanence
from remanence.ops import dispatch
from remanence.ops.scan import associative, backend, reset_scan_statistics, scan, scan_source, scan_statistics
from remanence.ops.scan.linearization import is_linear
from remanence.ops.scan.trace import TracedStep


@pytest.fixture(autouse=True)
def plain_fallback(monkeypatch):
    """The fallback is the plain loop over graphs: quick to start, and its answer is known to the last bit."""
    monkeypatch.setitem(backend.MODULES, "cpu", "remanence.ops.scan.graph_loop")
    reset_scan_statistics()


def gated(state, inputs, params):
    (h,), (update, candidate) = state, inputs
    z = torch.sigmoid(update) * torch.sigmoid(params[0])
    return (torch.lerp(h, torch.tanh(candidate), z),)


def rotated(state, inputs, params):
    (re, im), (x, y), (angle,) = state, inputs, params
    return 0.99 * (angle.cos() * re - angle.sin() * im) + x, 0.99 * (angle.sin() * re + angle.cos() * im) + y


def oscillating(state, inputs, params):
    (z, y), (force, span), (stiffness,) = state, inputs, params
    z = (z + span * (force - stiffness.exp() * y)) / (1 + span * span * stiffness.exp())
    return z, y + span * z


def switched(state, inputs, params):
    """Which of two states goes on is decided by an input."""
    (a, b), (x, y), (w,) = state, inputs, params
    return torch.where(x > 0, a - w * b, b / (1 + y * y)), -b + x


LINEAR = {gated: 1, rotated: 2, oscillating: 2, switched: 2}


def draw(step, batch=2, time=40, channels=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)

    def tensor(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()

    return (
        [tensor(batch, time, channels) for _ in range(2)],
        [tensor(batch, channels) for _ in range(LINEAR[step])],
        [tensor(channels)],
    )


def values_and_gradients(step, inputs, state, params, **options):
    states, final = scan(step, inputs, state, params, **options)
    loss = torch.stack([(x * (place + 1)).cos().sum() for place, x in enumerate((*states, *final))]).sum()
    return [*states, *final, *torch.autograd.grad(loss, [*inputs, *state, *params])]


@pytest.mark.parametrize("time", [1, 2, 31, 33, 300])
@pytest.mark.parametrize("step", LINEAR)
@pytest.mark.parametrize("with_resets", [False, True])
def test_values_and_gradients(step, time, with_resets):
    if step is switched and time > 100:
        time = 70  # it grows
    problem = draw(step, time=time)
    reset = torch.rand(2, time, generator=torch.Generator().manual_seed(1)) < 0.1
    options = {"reset": reset, "lengths": torch.tensor([time, time // 2])} if with_resets else {}
    expected = values_and_gradients(step, *problem, backend="reference", **options)
    found = values_and_gradients(step, *problem, backend="associative", **options)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert scan_statistics().calls == 1
    assert not scan_statistics().fallbacks


@pytest.mark.parametrize("step", LINEAR)
def test_gradcheck_of_both_orders(step):
    inputs, state, params = draw(step, batch=1, time=4, channels=2)

    def run(*tensors):
        states = scan(step, tensors[:2], tensors[2:-1], tensors[-1:], backend="associative")[0]
        return tuple(states)

    assert torch.autograd.gradcheck(run, (*inputs, *state, *params))
    assert torch.autograd.gradgradcheck(run, (*inputs, *state, *params))


def test_single_precision_over_a_long_time():
    problem = draw(rotated, batch=1, time=5000, channels=2, dtype=torch.float32)
    expected = values_and_gradients(rotated, *(list(map(torch.Tensor.double, each)) for each in problem))
    found = values_and_gradients(rotated, *problem, backend="associative")
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max().item())
    assert not scan_statistics().fallbacks


NONLINEAR = [
    lambda s, x, w: (torch.tanh(s[0]) + x[0],),
    lambda s, x, w: (s[0] * s[0] + x[0],),
    lambda s, x, w: (x[0] / s[0],),
    lambda s, x, w: (torch.where(s[0] > 0, x[0], s[0]),),
    lambda s, x, w: (torch.maximum(s[0], x[0]),),
    lambda s, x, w: (s[0] + torch.round(s[0]).detach(),),
    lambda s, x, w: (x[0] - F.relu(s[0]) * w[0],),
]


@pytest.mark.parametrize("step", NONLINEAR)
def test_steps_that_are_not_linear_are_refused(step):
    assert not is_linear(TracedStep(step, (1, 1, 1), 2, 3, torch.float64))
    x, h, w = torch.randn(2, 4, 3), torch.randn(2, 3), torch.randn(3)
    with pytest.raises(ValueError, match="backend 'associative' cannot run this step: the new state is not a linear"):
        scan(step, [x], [h], [w], backend="associative")


def test_a_step_whose_state_decides_nothing_is_linear():
    assert is_linear(TracedStep(lambda s, x, w: (torch.tanh(x[0]) * w[0],), (1, 1, 1), 2, 3, torch.float64))


def growing(state, inputs, params):
    return (inputs[0] * state[0] + inputs[1],)


def test_products_that_overflow_are_left_to_the_loop():
    """A state of zero stays zero, however it grows; but infinity times zero is not a number."""
    growth, zero = torch.full((1, 600, 1), 1e20), torch.zeros(1, 600, 1)
    (h,), _ = scan(growing, [growth, zero], [torch.zeros(1, 1)], backend="associative")
    assert not h.any()
    assert scan_statistics().fallbacks == {"associative": 1}


def test_what_is_not_finite_is_left_to_the_loop():
    """A reset clears what is not a number, as it does in the loop."""
    inputs, state, params = draw(gated, time=40)
    inputs[1].data[0, 3] = float("nan")
    reset = torch.zeros(2, 40, dtype=torch.bool)
    reset[0, 20] = True
    expected = scan(gated, inputs, state, params, reset=reset, backend="reference")
    found = scan(gated, inputs, state, params, reset=reset, backend="associative")
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert found[0][0][0, 20:].isfinite().all()


def test_a_linear_step_needs_no_newton_iterations():
    problem = draw(oscillating)
    by_newton = scan(oscillating, *problem, backend="newton")
    torch.testing.assert_close(scan(oscillating, *problem, backend="associative"), by_newton)
    assert scan_statistics().iterations == 1


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The choice that is made for tensors on a GPU; its fused loop is the loop over graphs."""
    monkeypatch.setattr(dispatch, "_pick_fastest", lambda like: "gpu")
    monkeypatch.setitem(backend.MODULES, "gpu", "remanence.ops.scan.graph_loop")
    monkeypatch.setattr(associative, "SHORTEST", 20)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_auto_picks_it_for_long_linear_scans_of_few_lanes():
    def calls(step, problem, **options):
        reset_scan_statistics()
        scan(step, *problem, **options)
        return scan_statistics().calls

    assert calls(gated, draw(gated)) == 1
    assert calls(rotated, draw(rotated)) == 1
    assert calls(gated, draw(gated, time=10)) == 0
    assert calls(gated, draw(gated, channels=3000)) == 0
    assert calls(gated, draw(gated), checkpoint_every=8) == 0
    assert calls(lambda s, x, w: (torch.tanh(s[0] + x[0]),), draw(gated)) == 0
    half = [[x.bfloat16() for x in each] for each in draw(gated)]
    assert calls(gated, half) == 0


def test_its_source_can_be_read():
    inputs, state, params = draw(rotated)
    text = scan_source(rotated, inputs, state, params, backend="associative")
    assert "# b and A" in text
    assert "cotangent" in text


def test_inputs_and_params_in_one_tensor():
    inputs, state, params = draw(oscillating)
    together = remanence.scan(oscillating, torch.stack(inputs, 2), state, torch.stack(params), backend="associative")
    torch.testing.assert_close(together, scan(oscillating, inputs, state, params, backend="reference"))
