"""Memories with a matrix for each head against their equations in NumPy, one number after another."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from remanence import nn
from remanence.nn.matrix_memory.matrix_memory import MatrixMemory
from remanence.ops.delta_rule import chunked
from remanence.ops.mesa import operation as mesa
from tests.nn.test_contract import assert_same

INPUTS, HEADS, KEY, VALUE = 3, 2, 3, 4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def scale_to_length_1(x):
    return x / np.sqrt((x * x).sum() + 1e-6)


def divide_by_sum(x):
    positive = np.where(x > 0, 1 + x, np.exp(x))
    return positive / positive.sum()


def rms_norm(x, gain):
    return gain * x / np.sqrt((x * x).mean() + 1e-5)


class Weights:
    """The parameters of a layer in NumPy; the rows of the projection are taken in the documented order."""

    def __init__(self, layer):
        self.values = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
        self.used = 0

    def __getitem__(self, name):
        return self.values[name]

    def take(self, *shape):
        rows = self["projection.weight"][self.used : self.used + math.prod(shape)]
        self.used += len(rows)
        return rows.reshape(*shape, -1)


def convolve(weights, projected):
    """Each channel over the steps up to now, the oldest first; ``projected`` are q, k and v, [time, ...] each."""
    if "convolution.weight" not in weights.values:
        return projected
    shapes = [x.shape[1:] for x in projected]
    flat = np.concatenate([x.reshape(len(x), -1) for x in projected], 1)
    kernel, result = weights["convolution.weight"], np.zeros_like(flat)
    for t in range(len(flat)):
        for place in range(kernel.shape[1]):
            at = t - (kernel.shape[1] - 1 - place)
            if at >= 0:
                result[t] += kernel[:, place] * flat[at]
    parts, start = [], 0
    for shape in shapes:
        parts.append(result[:, start : start + math.prod(shape)].reshape(-1, *shape))
        start += math.prod(shape)
    return parts


def compute_decay(weights, a):
    step = np.log1p(np.exp(a + weights["decay_gate.dt_bias"]))
    return np.exp(-np.exp(weights["decay_gate.A_log"]) * step)


def run_delta_rule(layer, x, *, writes=1, forgets=False, gates=False, beta_max=1.0, elu=False):
    """The output of one sample, and S of each head."""
    weights = Weights(layer)
    q, k, v = weights.take(HEADS, KEY), weights.take(writes, HEADS, KEY), weights.take(writes, HEADS, VALUE)
    of_beta = weights.take(writes, HEADS)
    of_decay = weights.take(HEADS) if forgets else None
    of_gate = weights.take(HEADS, VALUE) if gates else None
    assert weights.used == len(weights["projection.weight"])
    q, k, v = convolve(weights, [np.stack([rows @ x_t for x_t in x]) for rows in (q, k, v)])
    S, outputs = np.zeros((HEADS, VALUE, KEY)), np.zeros((len(x), HEADS, VALUE))
    for t, x_t in enumerate(x):
        beta = beta_max * sigmoid(of_beta @ x_t)
        for h in range(HEADS):
            if of_decay is not None:
                S[h] = compute_decay(weights, of_decay @ x_t)[h] * S[h]
            for j in range(writes):
                key = divide_by_sum(k[t, j, h]) if elu else scale_to_length_1(silu(k[t, j, h]))
                value = v[t, j, h] if elu else silu(v[t, j, h])
                S[h] = S[h] + beta[j, h] * np.outer(value - S[h] @ key, key)
            query = divide_by_sum(q[t, h]) if elu else scale_to_length_1(silu(q[t, h]))
            outputs[t, h] = rms_norm(S[h] @ query, weights["norm.weight"])
        if of_gate is not None:
            outputs[t] *= silu(of_gate @ x_t)
    return outputs.reshape(len(x), -1), S


def run_m2rnn(layer, x, *, gates=True):
    """The output of one sample, and H of each head."""
    weights = Weights(layer)
    q, k, v, of_decay = (
        weights.take(HEADS, KEY),
        weights.take(HEADS, KEY),
        weights.take(HEADS, VALUE),
        weights.take(HEADS),
    )
    of_gate = weights.take(HEADS, VALUE) if gates else None
    q, k, v = (silu(each) for each in convolve(weights, [np.stack([rows @ x_t for x_t in x]) for rows in (q, k, v)]))
    H, outputs = np.zeros((HEADS, KEY, VALUE)), []
    for t, x_t in enumerate(x):
        f, y = compute_decay(weights, of_decay @ x_t), np.zeros((HEADS, VALUE))
        for h in range(HEADS):
            new = np.tanh(H[h] @ weights["state_weight"][h] + np.outer(k[t, h], v[t, h]))
            H[h] = f[h] * H[h] + (1 - f[h]) * new
            y[h] = H[h].T @ q[t, h] + weights["skip"][h] * v[t, h]
        y = y if of_gate is None else y * silu(of_gate @ x_t)
        outputs.append(rms_norm(y.reshape(-1), weights["norm.weight"]))
    return np.stack(outputs), H


def run_ttt_linear(layer, x):
    """The output of one sample, and (W, b) of each head; the gradient of the loss by finite differences."""
    weights = Weights(layer)
    q, k, v, of_rate = (weights.take(HEADS, size) for size in (VALUE, VALUE, VALUE, 1))
    q, k, v = convolve(weights, [np.stack([rows @ x_t for x_t in x]) for rows in (q, k, v)])
    S, outputs = weights["first_model"].copy(), []

    def answer(S, z, h):
        u = S[:, :-1] @ z + S[:, -1]
        u = (u - u.mean()) / np.sqrt(u.var() + 1e-6)
        return z + weights["gain"][h] * u + weights["shift"][h]

    def find_gradient(S, h, k, v):
        grad, small = np.zeros_like(S), 1e-6
        for place in np.ndindex(S.shape):
            move = np.zeros_like(S)
            move[place] = small
            above, below = (0.5 * ((answer(S + sign * move, k, h) - v) ** 2).sum() for sign in (1, -1))
            grad[place] = (above - below) / (2 * small)
        return grad

    for t, x_t in enumerate(x):
        y = np.zeros((HEADS, VALUE))
        for h in range(HEADS):
            rate = sigmoid(of_rate[h, 0] @ x_t) / VALUE
            S[h] = S[h] - rate * find_gradient(S[h], h, k[t, h], v[t, h])
            y[h] = answer(S[h], q[t, h], h)
        y = y.reshape(-1)
        y = (y - y.mean()) / np.sqrt(y.var() + 1e-6)
        outputs.append(weights["norm.weight"] * y + weights["norm.bias"])
    return np.stack(outputs), S


def run_mesa_net(layer, x):
    """The output of one sample, and G and H of each head."""
    weights = Weights(layer)
    q, k, v = weights.take(HEADS, KEY), weights.take(HEADS, KEY), weights.take(HEADS, VALUE)
    of_beta, of_decay = weights.take(HEADS), weights.take(HEADS)
    q, k = convolve(weights, [np.stack([rows @ x_t for x_t in x]) for rows in (q, k)])
    ridge = 0.25 + np.log1p(np.exp(weights["ridge_drive"]))
    G, H, outputs = np.zeros((HEADS, VALUE, KEY)), np.zeros((HEADS, KEY, KEY)), []
    for t, x_t in enumerate(x):
        decay, beta = sigmoid(of_decay @ x_t + weights["decay_gate.bias"]), sigmoid(of_beta @ x_t)
        for h in range(HEADS):
            key, query = scale_to_length_1(silu(k[t, h])), scale_to_length_1(silu(q[t, h]))
            G[h] = decay[h] * G[h] + beta[h] * np.outer(v[h] @ x_t, key)
            H[h] = decay[h] * H[h] + beta[h] * np.outer(key, key)
            outputs.append(rms_norm(G[h] @ np.linalg.inv(H[h] + np.diag(ridge[h])) @ query, weights["norm.weight"]))
    return np.stack(outputs).reshape(len(x), -1), np.concatenate((G, H), 1)


RUNS = {"mesa_net": run_mesa_net, "m2rnn": run_m2rnn, "ttt_linear": run_ttt_linear}
CASES = {
    "delta_net": ("delta_net", {}, {}),
    "delta_net gated": (
        "delta_net",
        {"output_gate": True, "allow_negative_eigenvalues": True},
        {"gates": True, "beta_max": 2.0},
    ),
    "delta_net elu": ("delta_net", {"feature_map": "elu", "conv_size": None}, {"elu": True}),
    "gated_delta_net": ("gated_delta_net", {}, {"forgets": True, "gates": True}),
    "gated_delta_net plain": ("gated_delta_net", {"output_gate": False, "conv_size": 2}, {"forgets": True}),
    "delta_product": ("delta_product", {}, {"writes": 2, "gates": True, "beta_max": 2.0}),
    "delta_product gated": (
        "delta_product",
        {"num_householder": 3, "forget_gate": True, "output_gate": False, "allow_negative_eigenvalues": False},
        {"writes": 3, "forgets": True},
    ),
    "m2rnn": ("m2rnn", {}, {}),
    "ttt_linear": ("ttt_linear", {}, {}),
    "mesa_net": ("mesa_net", {}, {}),
    "m2rnn plain": ("m2rnn", {"output_gate": False, "conv_size": None}, {"gates": False}),
}


def make(name, **options):
    torch.manual_seed(0)
    if name != "ttt_linear":
        options |= {"key_size": KEY}
    layer = nn.create(name, input_size=INPUTS, hidden_size=HEADS * VALUE, num_heads=HEADS, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer.double()


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK", 8)
    monkeypatch.setattr(mesa, "CHUNK", 8)


@pytest.mark.parametrize("case", CASES)
def test_the_equations(case):
    name, options, meaning = CASES[case]
    layer, x = make(name, **options), torch.randn(2, 21, INPUTS, dtype=torch.float64)
    y, state = layer(x)
    S = state if layer.convolution is None else state[0]
    for sample in range(2):
        expected, last = RUNS.get(name, run_delta_rule)(layer, x[sample].numpy(), **meaning)
        error = 1e-6 if name == "ttt_linear" else 1e-9  # that of finite differences
        torch.testing.assert_close(y[sample], torch.from_numpy(expected), rtol=error, atol=error)
        torch.testing.assert_close(S[sample], torch.from_numpy(last), rtol=error, atol=error)


@pytest.mark.parametrize("case", CASES)
def test_pieces_across_chunks(case):
    """A split sequence, steps, and episodes in a padded batch, all longer than a chunk and the convolution."""
    name, options, _ = CASES[case]
    layer, x = make(name, **options), torch.randn(3, 30, INPUTS, dtype=torch.float64)
    whole, final = layer(x)
    first, state = layer(x[:, :13])
    second, last = layer(x[:, 13:], state)
    assert_same((torch.cat((first, second), 1), last), (whole, final))
    reset = torch.zeros(3, 30, dtype=torch.bool)
    reset[:2, [5, 6, 19]] = True
    y, after = layer(x, state, reset=reset, lengths=torch.tensor([30, 20, 2]))
    for sample, cuts in enumerate(([0, 5, 6, 19, 30], [0, 5, 6, 19, 20], [0, 2])):
        start = pytree.tree_map(lambda leaf, s=sample: leaf[s : s + 1], state)
        for begin, end in pairwise(cuts):
            piece, start = layer(x[sample : sample + 1, begin:end], start if begin == 0 else None)
            torch.testing.assert_close(y[sample : sample + 1, begin:end], piece)
        assert_same(pytree.tree_map(lambda leaf, s=sample: leaf[s : s + 1], after), start)


def test_a_silent_start_has_finite_gradients():
    """Keys of 0, as at the zeros before a signal, have no direction."""
    layer, x = make("gated_delta_net"), torch.zeros(1, 6, INPUTS, dtype=torch.float64, requires_grad=True)
    layer(x)[0].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() < 1e6


@pytest.mark.parametrize(
    ("hidden_size", "heads"), [(4, 1), (16, 1), (32, 2), (48, 3), (50, 2), (64, 4), (256, 4), (67, 1)]
)
def test_the_default_number_of_heads(hidden_size, heads):
    assert nn.DeltaNet(3, hidden_size).num_heads == heads


def test_the_sizes_of_the_paper():
    H, window = nn.M2RNN(3, 64).initial_state(5)
    assert H.shape == (5, 4, 64, 16)
    assert window.shape == (5, 3, 4 * (64 + 64 + 16))


@pytest.mark.parametrize("name", ["delta_net", "gated_delta_net", "delta_product", "m2rnn", "mesa_net", "ttt_linear"])
def test_parameters_can_be_drawn_anew(name):
    layer = make(name)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(math.nan)
    assert isinstance(layer, MatrixMemory)
    layer.reset_parameters()
    assert all(torch.isfinite(parameter).all() for parameter in layer.parameters())


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, r"num_heads must divide hidden_size 8, got 3"),
        ({"num_heads": 0}, r"num_heads must be a positive integer, got 0"),
        ({"key_size": -1}, r"key_size must be a positive integer"),
        ({"conv_size": 1}, r"conv_size must be at least 2, or None for no convolution, got 1"),
        ({"feature_map": "relu"}, r"feature_map must be 'silu' or 'elu', got 'relu'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        nn.DeltaNet(3, 8, **options)


@pytest.mark.unchecked
def test_no_householder_step_is_refused():
    with pytest.raises(ValueError, match="num_householder must be a positive integer, got 0"):
        nn.DeltaProduct(3, 8, num_householder=0)
