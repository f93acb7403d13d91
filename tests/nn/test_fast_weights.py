"""Fast weights: three forms of one network, and the mistakes that others made with it."""

import warnings
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.nn import Elman, FastWeights, FastWeightsGrowthWarning


def transcription(layer, x, *, mistake=None):
    """Ba et al. 2016, equations 1 and 2 with layer normalisation, in NumPy; optionally with a known mistake."""
    W, C, b = (p.detach().numpy() for p in (layer.weight_hh, layer.weight_ih, layer.bias))
    gain, shift = (p.detach().numpy() for p in (layer.norm.weight, layer.norm.bias))
    λ, η = float(layer.decay), float(layer.fast_learning_rate)
    batch, time, _ = x.shape
    axis = 0 if mistake == "layer norm over the batch" else 1

    def f(z):
        mean, variance = z.mean(axis, keepdims=True), z.var(axis, keepdims=True)
        return np.maximum(0, gain * (z - mean) / np.sqrt(variance + layer.norm.eps) + shift)

    h, A, outputs = np.zeros((batch, layer.hidden_size)), np.zeros((batch, *[layer.hidden_size] * 2)), []
    lagging = A
    for t in range(time):
        boundary = h @ W.T + x[:, t].numpy() @ C.T + b
        new = f(boundary)
        for _ in range(layer.inner_steps):
            read = lagging if mistake == "A lags one step" else A
            if mistake == "the new h is written before A is read":
                read = λ * A + η * np.einsum("bi,bj->bij", new, new)
            if mistake == "A is never read":
                read = 0 * A
            new = f(boundary + np.einsum("bij,bj->bi", read, new))
        h, lagging = new, A
        A = λ * A + η * np.einsum("bi,bj->bij", h, h)
        outputs.append(h)
        if mistake == "state leaks between samples":
            A = np.roll(A, 1, axis=0)
    return np.stack(outputs, 1)


def make(form: Literal["matrix", "attention"] = "matrix", **options):
    layer = FastWeights(3, 6, form=form, **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


@pytest.mark.parametrize("form", ["matrix", "attention", "auto"])
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_equals_the_transcription(form, inner_steps):
    layer = make(form, inner_steps=inner_steps)
    x = torch.randn(4, 8, 3, dtype=torch.float64)
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), transcription(layer, x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "mistake",
    [
        "layer norm over the batch",  # jiamings/fast-weights and its copies
        "A lags one step",  # jxwufan/AssociativeRetrieval, waymane1/fast-weights-rnn
        "the new h is written before A is read",
        "A is never read",  # caseus-viridis/fw-exp
        "state leaks between samples",
    ],
)
@pytest.mark.parametrize("form", ["matrix", "attention"])
def test_known_mistakes_would_be_seen(form, mistake):
    layer = make(form)
    x = torch.randn(4, 8, 3, dtype=torch.float64)
    wrong = transcription(layer, x, mistake=mistake)
    assert np.abs(layer(x)[0].detach().numpy() - wrong).max() > 1e-2


@settings(deadline=None, max_examples=30)
@given(
    batch=st.integers(1, 4),
    time=st.integers(1, 9),
    inner_steps=st.integers(1, 3),
    decay=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    layer_norm=st.booleans(),
    continued=st.booleans(),
    trainable=st.booleans(),
)
def test_both_forms_agree_in_values_and_gradients(batch, time, inner_steps, decay, layer_norm, continued, trainable):
    options = {"inner_steps": inner_steps, "decay": decay, "layer_norm": layer_norm, "fast_learning_rate": 0.1}
    options["nonlinearity"] = "relu" if layer_norm else "tanh"  # an unbounded f diverges without layer norm
    if trainable and 0 < decay < 1:
        options["trainable_rates"] = True
    layer = make("matrix", **options)
    x = torch.randn(batch, time, 3, dtype=torch.float64, requires_grad=True)
    state = None
    if continued:
        state = tuple(s.detach() for s in layer(torch.randn(batch, 2, 3, dtype=torch.float64))[1])
    results = []
    for form in ("matrix", "attention"):
        layer.form = form
        y, (h, A) = layer(x, state)
        loss = y.square().sum() + h.sum() + A.square().sum()
        results.append((y, A, *torch.autograd.grad(loss, [x, *layer.parameters()], allow_unused=True)))
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("form", ["matrix", "attention"])
@pytest.mark.parametrize("inner_steps", [1, 4])
def test_without_writing_it_is_the_plain_network(form, inner_steps):
    layer = make(form, fast_learning_rate=0.0, layer_norm=False, inner_steps=inner_steps)
    plain = Elman(3, 6, nonlinearity="relu").double()
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[0], plain(x)[0])


def test_rates_can_be_trained():
    layer = FastWeights(3, 6, decay=0.9, fast_learning_rate=0.3, trainable_rates=True)
    assert isinstance(layer.decay, torch.Tensor)
    assert isinstance(layer.fast_learning_rate, torch.Tensor)
    assert layer.decay.item() == pytest.approx(0.9)
    assert layer.fast_learning_rate.item() == pytest.approx(0.3)
    layer(torch.randn(2, 5, 3))[0].square().sum().backward()
    for rate in (layer.decay_logit, layer.log_fast_learning_rate):
        assert rate.grad is not None
        assert rate.grad.abs() > 0


@pytest.mark.parametrize("form", ["matrix", "attention"])
def test_growth_is_warned_of_with_its_step(form):
    torch.manual_seed(0)
    layer = FastWeights(3, 16, layer_norm=False, inner_steps=3, form=form)
    x = 3 * torch.randn(2, 60, 3)
    with pytest.warns(FastWeightsGrowthWarning, match=r"passed .* at step \d+ .*layer_norm=True"):
        layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)  # said once
        FastWeights(3, 16, form=form)(x)


def test_growth_is_the_norm_of_the_fast_weights():
    layer = make()
    y, (_, A) = layer(torch.randn(2, 5, 3, dtype=torch.float64))
    norms = layer.growth(y)
    torch.testing.assert_close(norms[:, -1], torch.linalg.matrix_norm(A))
    torch.testing.assert_close(norms[:, 0], layer.fast_learning_rate * y[:, 0].square().sum(-1))


@pytest.mark.unchecked
@pytest.mark.parametrize(
    "options",
    [
        {"inner_steps": 0},
        {"decay": -0.1},
        {"fast_learning_rate": float("nan")},
        {"nonlinearity": "sine"},
        {"form": "quick"},
        {"decay": 1.0, "trainable_rates": True},
        {"fast_learning_rate": 0.0, "trainable_rates": True},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FastWeights(3, 4, **options)
