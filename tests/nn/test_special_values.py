"""Numbers that overflow, infinities and NaN: a whole sequence and single steps say the same of them."""

import pytest
import torch
from torch.utils import _pytree as pytree

from remanence import nn, wiring

OPTIONS = {
    "cff wired": {"wiring": wiring.lattice((12,), periodic=True)},
    "cff exact": {"input_synapse": "exact"},
    "ltc wired": {"wiring": wiring.auto_ncp(3, 12, outputs=2)},
    "fast_weights plain": {"layer_norm": False, "nonlinearity": "tanh"},
}
LAYERS = [*nn.layers, *OPTIONS]
VALUES = {
    torch.float32: [float("nan"), float("-inf"), 1e20, -1e30],
    torch.float64: [float("nan"), float("inf"), -1e160],
}
CASES = [(dtype, value) for dtype, values in VALUES.items() for value in values]


def make(name, dtype):
    torch.manual_seed(0)
    return nn.create(name.split()[0], input_size=3, hidden_size=12, **OPTIONS.get(name, {})).to(dtype).eval()


def stepped(layer, x):
    state, outputs = None, []
    for x_t in x.unbind(1):
        y_t, state = layer.step(x_t, state)
        outputs.append(y_t)
    return torch.stack(outputs, 1), state


def assert_same_kind(actual, expected):
    """Where one is finite the other is, and there they are equal."""
    for a, b in zip(pytree.tree_leaves(actual), pytree.tree_leaves(expected), strict=True):
        assert torch.equal(a.isfinite(), b.isfinite()), (a, b)
        rtol = 1e-4 if a.dtype == torch.float32 else 1e-9
        torch.testing.assert_close(a[a.isfinite()], b[b.isfinite()], rtol=rtol, atol=rtol)


@pytest.mark.filterwarnings("ignore::remanence.nn.FastWeightsGrowthWarning")
@pytest.mark.parametrize(("dtype", "value"), CASES, ids=str)
@pytest.mark.parametrize("time", [2, 9])
@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_sequence_and_its_steps_agree(name, time, dtype, value):
    layer = make(name, dtype)
    x = torch.randn(4, time, 3, dtype=dtype)
    clean, _ = layer(x)
    x[1, 0, 1] = x[2, -1, :] = x[3, 1, 2] = value
    y, state = layer(x)
    assert_same_kind((y, state), stepped(layer, x))
    torch.testing.assert_close(y[0], clean[0])  # the samples beside it do not notice
