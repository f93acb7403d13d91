"""Gradients carried along a stream against backpropagation through all of it."""

from itertools import pairwise
from typing import Any, no_type_check

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence
from remanence.ops.scan.online_scan import OnlineState

BATCH, TIME, FEATURES, CHANNELS = 3, 12, 4, 5


@no_type_check
def gated(state, inputs, params):
    """Two states, two inputs, three parameters, all of which matter to each other."""
    (h, c), (x, z), (a, b, d) = state, inputs, params
    gate = torch.sigmoid(z + d * h)
    c = torch.sigmoid(a) * c + gate * torch.tanh(x + b)
    return torch.tanh(c) * gate, c


@no_type_check
def without_params(state, inputs, params):
    (h,), (x,) = state, inputs
    return (torch.tanh(0.5 * h + x),)


@no_type_check
def with_more(state, inputs, params):
    (h,), (x, spans), (a,) = state, inputs, params
    return (torch.exp(-torch.exp(a) * spans) * h + x,)


STEPS = {gated: (2, 2, 3, 0), without_params: (1, 1, 0, 0), with_more: (1, 1, 1, 1)}


def draw(step, seed=0):
    """Features, weight, state, params, further inputs, and the weights of the loss."""
    torch.manual_seed(seed)
    states, inputs, params, more = STEPS[step]
    number: dict[str, Any] = {"dtype": torch.float64}
    return (
        torch.randn(BATCH, TIME, FEATURES, **number),
        torch.randn(inputs * CHANNELS, FEATURES, **number, requires_grad=True),
        [torch.randn(BATCH, CHANNELS, **number) for _ in range(states)],
        [torch.randn(CHANNELS, **number, requires_grad=True) for _ in range(params)],
        [torch.rand(BATCH, TIME, CHANNELS, **number) for _ in range(more)],
        [torch.randn(BATCH, TIME, CHANNELS, **number) for _ in range(states)],
    )


def backpropagate(step, features, weight, state, params, more, above, reset=None, reset_state=None):
    """States, final state and gradients of a loss of all states, by the plain loop over the whole stream."""
    drives = torch.nn.functional.linear(features, weight).unflatten(-1, (-1, CHANNELS)).unbind(2)
    options = {} if reset is None else {"reset": reset, "reset_state": reset_state}
    states, final = remanence.scan(step, [*drives, *more], state, params, backend="reference", **options)
    loss = torch.stack([(s * g).sum() for s, g in zip(states, above, strict=True)]).sum()
    return states, final, torch.autograd.grad(loss, [weight, *params])


def learn_in_pieces(step, sizes, features, weight, state, params, more, above, reset=None, reset_state=None):
    """The same in pieces; the gradients of their losses are added up."""
    pieces, total, start = [], [torch.zeros_like(each) for each in (weight, *params)], 0
    for size in sizes:
        span = slice(start, start + size)
        options = {} if reset is None else {"reset": reset[:, span], "reset_state": reset_state}
        rest = [each[:, span] for each in more]
        states, state = remanence.scan_online(step, features[:, span], weight, state, params, more=rest, **options)
        if size:
            loss = torch.stack([(s * g[:, span]).sum() for s, g in zip(states, above, strict=True)]).sum()
            found = torch.autograd.grad(loss, [weight, *params])
            total = [a + b for a, b in zip(total, found, strict=True)]
        pieces.append(states)
        start += size
    assert not any(each.requires_grad for each in (*state.state, *state[1:]))
    return tuple(torch.cat(each, 1) for each in zip(*pieces, strict=True)), state.state, tuple(total)


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, TIME), max_size=4), seed=st.integers(0, 99))
def test_pieces_of_any_length_give_the_gradient_of_the_whole_stream(step, cuts, seed):
    bounds = [0, *sorted(cuts), TIME]
    sizes = [after - before for before, after in pairwise(bounds)]
    drawn = draw(step, seed)
    torch.testing.assert_close(learn_in_pieces(step, sizes, *drawn), backpropagate(step, *drawn), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("step", STEPS)
def test_resets(step):
    drawn = draw(step)
    reset = torch.rand(BATCH, TIME) < 0.2
    reset[:, 6] = torch.tensor([True, False, True])  # the first step of a piece
    anew = [torch.randn_like(s) for s in drawn[2]]
    expected = backpropagate(step, *drawn, reset, anew)
    torch.testing.assert_close(learn_in_pieces(step, [6, 1, 5], *drawn, reset, anew), expected, rtol=1e-9, atol=1e-9)


def test_a_truncated_gradient_is_another():
    """Otherwise the tests above would show nothing."""
    features, weight, state, params, more, above = draw(gated)
    whole = backpropagate(gated, features, weight, state, params, more, above)
    late = [torch.where(torch.arange(TIME)[:, None] < 6, 0, g) for g in above]
    _, middle = remanence.scan(
        gated, torch.nn.functional.linear(features[:, :6], weight).unflatten(-1, (2, -1)), state, params
    )
    truncated = backpropagate(
        gated, features[:, 6:], weight, [s.detach() for s in middle], params, more, [g[:, 6:] for g in above]
    )
    exact = backpropagate(gated, features, weight, state, params, more, late)
    assert (truncated[2][0] - exact[2][0]).abs().max() > 0.01
    torch.testing.assert_close(whole[0][0][:, 6:], truncated[0][0])


def test_the_sensitivities_are_the_jacobian():
    features, weight, state, params, _, _ = draw(gated)
    _, after = remanence.scan_online(gated, features, weight, state, params)

    def last(weight, *params):
        drives = torch.nn.functional.linear(features, weight).unflatten(-1, (2, -1))
        return torch.stack(remanence.scan(gated, drives, state, params, backend="reference")[1], 1)

    by_weight, *by_params = torch.autograd.functional.jacobian(last, (weight, *params))
    own = torch.arange(CHANNELS)
    by_weight = by_weight.unflatten(3, (2, CHANNELS))[:, :, own, :, own].permute(1, 2, 3, 0, 4)
    torch.testing.assert_close(after.of_weight, by_weight)
    by_params = torch.stack([each[:, :, own, own] for each in by_params], 2)
    torch.testing.assert_close(after.of_params, by_params)


def test_memory_does_not_grow():
    """Neither what is kept for the backward pass, nor the state."""
    features, weight, state, params, *_ = draw(gated)
    kept = []
    for _ in range(3):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            _, state = remanence.scan_online(gated, features, weight, state, params)
        kept.append(sum(sizes))
        assert all(each.grad_fn is None for each in (*state.state, *state[1:]))
    assert kept[0] == kept[1] == kept[2]


def test_without_gradients_the_state_still_goes_on():
    features, weight, state, params, *_ = draw(gated)
    expected = remanence.scan_online(gated, features, weight, state, params)
    with torch.no_grad():
        states, after = remanence.scan_online(gated, features, weight, state, params)
    assert not states[0].requires_grad
    torch.testing.assert_close(after, expected[1])
    frozen = remanence.scan_online(gated, features, weight.detach(), state, [p.detach() for p in params])
    torch.testing.assert_close(frozen[1], expected[1])


def test_an_empty_batch():
    features, weight, state, params, *_ = draw(gated)
    (h, _), after = remanence.scan_online(gated, features[:0], weight, [s[:0] for s in state], params)
    h.sum().backward()
    assert h.shape == (0, TIME, CHANNELS)
    assert after.of_weight.shape == (0, 2, 2, CHANNELS, FEATURES)
    assert weight.grad is not None
    assert not weight.grad.any()


@no_type_check
def mixing(state, inputs, params):
    (h,), (x,) = state, inputs
    return (torch.tanh(h.flip(1) + x),)


@pytest.mark.unchecked
def test_errors_say_what_was_expected():
    features, weight, state, params, *_ = draw(gated)
    with pytest.raises(ValueError, match=r"pointwise over \[batch, channels\]: .*flip"):
        remanence.scan_online(mixing, features, weight[:CHANNELS], state[:1])
    with pytest.raises(ValueError, match=r"weight \[inputs \* 5, 4\].* got \[7, 4\]"):
        remanence.scan_online(gated, features, weight[:7], state, params)
    with pytest.raises(ValueError, match=r"state \[batch, channels\] each"):
        remanence.scan_online(gated, features, weight, [s[:1] for s in state], params)
    with pytest.raises(ValueError, match=r"more\[0\] \[3, 12, 5\], got \[3, 11, 5\]"):
        remanence.scan_online(gated, features, weight, state, params, more=[features.new_zeros(3, 11, 5)])
    reset = torch.zeros(BATCH, TIME, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"reset_state\[1\] \[3, 5\], got \[3, 1\]"):
        remanence.scan_online(
            gated, features, weight, state, params, reset=reset, reset_state=[state[0], state[1][:, :1]]
        )
    _, after = remanence.scan_online(gated, features, weight, state, params)
    assert isinstance(after, OnlineState)
    with pytest.raises(ValueError, match="a state of the same step"):
        remanence.scan_online(gated, features, weight, after, params[:2])
