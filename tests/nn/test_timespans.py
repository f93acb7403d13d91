"""Steps of any length, for every layer that lives in continuous time."""

import math

import pytest
import torch
from torch.utils import _pytree as pytree

from remanence import nn, wiring
from remanence.models import SequenceModel

LATTICE = wiring.lattice((6,), periodic=True)
LAYERS = {
    "ltc": {},
    "ltc sparse": {"wiring": LATTICE},
    "ltc explicit": {"solver": "explicit_euler"},
    "ltc rk4": {"solver": "rk4"},
    "cff": {},
    "cff affine": {"input_synapse": "affine"},
    "cff exact": {"input_synapse": "exact"},
    "cff shunting": {"mutual_synapse": "shunting"},
    "cff wired": {"wiring": LATTICE},
    "cfc": {},
    "cfc pure": {"mode": "pure"},
    "cfc no_gate": {"mode": "no_gate"},
    "cfc mixed": {"mixed_memory": True},
    "s5": {},
    "linoss": {},
    "linoss imex": {"scheme": "imex"},
    "lrc": {},
}
HOLDING = [name for name in LAYERS if not name.startswith("cfc")]
"""Solutions of a differential equation. A CfC is a formula for where one is, and does not start from its state."""

EXPLICIT = ("ltc explicit", "ltc rk4", "linoss imex", "lrc")
"""Not stable for steps of any length."""


def make(name, dtype=torch.float64):
    torch.manual_seed(0)
    return nn.create(name.split()[0], input_size=3, hidden_size=6, **LAYERS[name]).to(dtype)


def sequence(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 5, 3, dtype=dtype, generator=generator)


def gradients(layer, x, timespans, at=slice(None)):
    y, state = layer(x, timespans=timespans)
    loss = y[at].square().sum() + sum(leaf[at].square().sum() for leaf in pytree.tree_leaves(state))
    wanted = [tensor for tensor in (x, timespans, *layer.parameters()) if tensor.requires_grad]
    return torch.autograd.grad(loss, wanted)


def test_all_layers_of_continuous_time_are_here():
    names = {name for name in nn.layers if nn.create(name, input_size=3, hidden_size=6).continuous_time}
    assert names == {name.split()[0] for name in LAYERS}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", HOLDING)
def test_a_step_of_no_length_changes_nothing(name, dtype):
    layer, x = make(name, dtype), sequence(dtype)
    _, before = layer(x)
    _, after = layer(x, before, timespans=torch.zeros(4, 5, dtype=dtype))
    _, stepped = layer.step(x[:, 0], before, timespans=torch.zeros(4, dtype=dtype))
    for leaf, same, too in zip(*map(pytree.tree_leaves, (before, after, stepped)), strict=True):
        assert torch.equal(leaf, same)
        assert torch.equal(leaf, too)


@pytest.mark.parametrize("name", HOLDING)
def test_steps_of_no_length_can_be_left_out(name):
    layer, x = make(name), sequence()
    timespans = torch.tensor([0.5, 0, 2, 0, 1], dtype=torch.float64).expand(4, -1)
    kept = timespans[0] > 0
    y, state = layer(x, timespans=timespans)
    expected, final = layer(x[:, kept], timespans=timespans[:, kept])
    torch.testing.assert_close(y[:, kept], expected)
    torch.testing.assert_close(state, final)


@pytest.mark.parametrize(
    ("dtype", "wanted"), [(torch.float32, True), (torch.float64, True), (torch.float64, False)], ids=str
)
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_finite_and_continuous_at_0(name, dtype, wanted):
    layer, x = make(name, dtype), sequence(dtype).requires_grad_()
    small = 1e-5 if dtype == torch.float64 else 1e-3
    found, near = (
        gradients(layer, x, torch.tensor([0.5, least, 2, least, 1], dtype=dtype).repeat(4, 1).requires_grad_(wanted))
        for least in (0.0, small)
    )
    for grad, other in zip(found, near, strict=True):
        assert torch.isfinite(grad).all()
        torch.testing.assert_close(grad, other, rtol=200 * small, atol=200 * small * max(1.0, other.abs().max().item()))


@pytest.mark.parametrize("name", LAYERS)
def test_gradcheck_at_0(name):
    layer, x = make(name), sequence()[:2, :2].requires_grad_()
    timespans = torch.tensor([[0.7, 0.0], [0.0, 0.3]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: layer(x, timespans=timespans)[0], (x,), fast_mode=True)
    # Timespans end at 0, and a difference needs both sides: one-sided here.
    step, leaf = 1e-7, timespans.clone().requires_grad_()
    (grad,) = torch.autograd.grad(layer(x, timespans=leaf)[0].sum(), leaf)
    for place in [(0, 1), (1, 0)]:
        later = timespans.clone()
        later[place] = step
        slope = (layer(x, timespans=later)[0].sum() - layer(x, timespans=timespans)[0].sum()) / step
        torch.testing.assert_close(grad[place], slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in EXPLICIT])
def test_extreme_timespans_stay_finite(name):
    layer, x = make(name, torch.float32), sequence(torch.float32).requires_grad_()
    timespans = torch.tensor([1e-30, 1e-38, 1e30, 1e10, 1e-10]).repeat(4, 1)
    y, _ = layer(x, timespans=timespans)
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(grad).all() for grad in gradients(layer, x, timespans))


@pytest.mark.unchecked
@pytest.mark.parametrize("value", [-1.0, -1e-30, math.nan, math.inf])
@pytest.mark.parametrize("name", LAYERS)
def test_impossible_timespans_are_refused(name, value):
    layer, x = make(name), sequence()
    timespans = torch.ones(4, 5, dtype=torch.float64)
    timespans[2, 3] = value
    with pytest.raises(ValueError, match=r"timespans that are at least 0 and finite, got \S+ at \[2, 3\]"):
        layer(x, timespans=timespans)
    with pytest.raises(ValueError, match=r"at least 0 and finite, got \S+ at \[2\]"):
        layer.step(x[:, 0], timespans=timespans[:, 3])


@pytest.mark.unchecked
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("wrong", [1.0, [[1.0] * 5] * 4, torch.ones(4, 5, dtype=torch.int64), torch.ones(5), "packed"])
def test_other_types_are_refused(name, wrong):
    if isinstance(wrong, str):
        wrong = torch.nn.utils.rnn.pack_sequence([torch.ones(5), torch.ones(3)])
    with pytest.raises(ValueError, match=r"expected timespans \[4, 5\] of floating point"):
        make(name)(sequence(), timespans=wrong)
    with pytest.raises(ValueError, match=r"expected timespans \[4\] of floating point"):
        make(name).step(sequence()[:, 0], timespans=wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("padding", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("pooling", ["last", "none"])
@pytest.mark.parametrize("name", LAYERS)
def test_what_stands_in_the_padding_does_not_matter(name, pooling, padding):
    torch.manual_seed(0)
    memory = make(name)
    model = SequenceModel(memory, 2, input_size=3, embedding=(3,), readout=(), pooling=pooling).double()
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 4])[:, None]
    x, timespans = sequence(), torch.rand(4, 5, dtype=torch.float64) + 0.5

    def run(x, timespans):
        y = model(x, mask, timespans)
        y = y if pooling == "last" else y[mask]
        return [y, *torch.autograd.grad(y.square().sum(), list(model.parameters()))]

    padded = x.masked_fill(~mask[..., None], padding), timespans.masked_fill(~mask, padding)
    torch.testing.assert_close(run(*padded), run(x, timespans))
