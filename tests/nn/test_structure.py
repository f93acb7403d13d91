"""What a layer is made of goes with it: averages, other devices, state dicts."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils import _pytree as pytree

from remanence import nn, wiring
from remanence.nn import attention

LATTICE = wiring.lattice((6,), periodic=True)
OPTIONS = {
    "cff wired": {"wiring": LATTICE},
    "cff exact": {"input_synapse": "exact"},
    "ltc sparse": {"wiring": LATTICE},
    "fastlane sparse": {"wiring": LATTICE, "order": [3, 1, 5, 0, 2, 4], "inputs": [0, 2, 4], "outputs": [5, 1]},
    "eunn fft": {"style": "fft"},
    "urnn large": {"hidden_size": 70},
}
KINDS = [*nn.layers, *OPTIONS, *(f"attention {name}" for name in attention.methods)]


def make(kind, seed=0) -> Any:
    """A layer, or an attention method."""
    torch.manual_seed(seed)
    if kind.startswith("attention "):
        return attention.create(kind.split()[1], width=8, heads=2, max_length=300).eval()
    return nn.create(kind.split()[0], **{"input_size": 3, "hidden_size": 6, **OPTIONS.get(kind, {})}).eval()


def output(module):
    size = module.width if isinstance(module, attention.Attention) else 3
    x = torch.randn(2, 9, size, generator=torch.Generator().manual_seed(1))
    y = module(x.to(next(module.parameters()).device))
    return y if isinstance(y, torch.Tensor) else y[0]


@pytest.mark.parametrize("kind", KINDS)
def test_averages_of_weights_that_do_not_change_change_nothing(kind):
    module = make(kind)
    expected = output(module)
    averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(3):
        averaged.update_parameters(module)
    torch.testing.assert_close(output(averaged.module), expected)
    counters = [name for name, buffer in module.named_buffers() if not buffer.is_floating_point()]
    assert set(counters) <= {"passes"}


@pytest.mark.parametrize("kind", KINDS)
def test_through_meta_and_back(kind):
    module = make(kind)
    expected, state = output(module), copy.deepcopy(module.state_dict())
    empty = copy.deepcopy(module).to("meta").to_empty(device="cpu")
    empty.load_state_dict(state)
    torch.testing.assert_close(output(empty), expected)
    with torch.device("meta"):
        built = make(kind, seed=5)
    built.load_state_dict(state, assign=True)
    torch.testing.assert_close(output(built), expected)
    assert all(not buffer.is_meta for buffer in built.buffers())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_carries_all(kind):
    module, twin = make(kind), make(kind, seed=7)
    twin.load_state_dict(module.state_dict())
    torch.testing.assert_close(output(twin), output(module))
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(output(copied), output(module))
        assert list(copied.state_dict()) == list(module.state_dict())


@pytest.mark.parametrize("kind", ["ltc", "cff"])
def test_another_wiring_is_refused(kind):
    ring = np.roll(np.eye(12, dtype=np.int8), 1, 0)
    other = np.roll(np.eye(12, dtype=np.int8), 2, 0)
    one, two = (nn.create(kind, input_size=3, hidden_size=12, wiring=matrix) for matrix in (ring, other))
    before = copy.deepcopy(two.state_dict())
    with pytest.raises(RuntimeError, match="another structure: build the module with the same wiring"):
        two.load_state_dict(one.state_dict())
    with pytest.raises(RuntimeError, match="another structure"):
        torch.nn.Sequential(two).load_state_dict(torch.nn.Sequential(one).state_dict(), strict=False)
    two.load_state_dict(before)
    assert (two.wiring.adjacency == other).all()


def test_fastlane_runs_what_was_loaded():
    one = nn.Fastlane(4, 6, wiring=LATTICE, inputs=[0, 1, 2, 3], outputs=[4, 5], order=[5, 4, 3, 2, 1, 0])
    two = nn.Fastlane(4, 6, wiring=LATTICE, inputs=[5, 4, 3, 2], outputs=[0, 1])
    two.load_state_dict(one.state_dict())
    x = torch.randn(2, 5, 4)
    torch.testing.assert_close(two(x)[0], one(x)[0])
    three = nn.Fastlane(4, 6, wiring=LATTICE, inputs=[0, 1, 2, 3], outputs=[3])
    with pytest.raises(RuntimeError, match=r"outputs: the state_dict has \[2\], this module \[1\]"):
        three.load_state_dict(one.state_dict())


def test_state_dicts_of_earlier_versions_load():
    """They had the wiring, the order and permutations, but neither the inputs nor the outputs of a Fastlane."""
    layer = make("fastlane sparse")
    state = {name: value for name, value in layer.state_dict().items() if name not in ("outputs", "sensory")}
    make("fastlane sparse", seed=1).load_state_dict(state)
    unitary = make("urnn")
    state = unitary.state_dict()
    state["permutation"] = torch.tensor([2, 5, 0, 1, 4, 3])
    unitary.load_state_dict(state)
    assert unitary.permutation.tolist() == [2, 5, 0, 1, 4, 3]
    assert {"wiring_adjacency", "wiring_shape", "synapses.sign"} <= set(make("ltc").state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("attention")])
def test_low_precision(kind, dtype):
    module = make(kind)
    expected = output(module)
    low = copy.deepcopy(module).to(dtype)
    x = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    y, state = low(x)
    assert y.dtype == dtype
    assert all(leaf.dtype == dtype for leaf in pytree.tree_leaves(state))
    torch.testing.assert_close(y.float(), expected, rtol=0.2, atol=0.2)
    y.float().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is None or p.grad.dtype == dtype for p in low.parameters())
    y_t, state = low.step(x[:, 0], state)
    assert y_t.dtype == dtype


@pytest.mark.parametrize(("batch", "time"), [(0, 4), (3, 0), (0, 0)])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("attention")])
def test_no_samples_or_no_steps(kind, batch, time):
    module = make(kind)
    x = torch.zeros(batch, time, 3, requires_grad=True)
    y, state = module(x)
    assert y.shape == (batch, time, module.output_size)
    assert all(leaf.shape[0] == batch for leaf in pytree.tree_leaves(state))
    total = y.sum() + sum(leaf.sum() for leaf in pytree.tree_leaves(state))
    if total.requires_grad:  # from a first state that is learned
        total.backward()
    y_t, _ = module.step(torch.zeros(batch, 3), state)
    assert y_t.shape == (batch, module.output_size)


@pytest.mark.unchecked
@pytest.mark.parametrize("kind", list(nn.layers))
def test_sizes_may_be_integers_of_numpy(kind):
    layer = nn.create(kind, input_size=np.int64(3), hidden_size=np.int32(6))  # pyright: ignore[reportArgumentType]
    assert type(layer.hidden_size) is type(layer.input_size) is int
    assert layer(torch.zeros(1, 2, 3))[0].shape == (1, 2, layer.output_size)
    with pytest.raises(ValueError, match="positive integer"):
        nn.create(kind, input_size=np.float64(3), hidden_size=6)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="positive integer"):
        nn.create(kind, input_size=np.bool(True), hidden_size=6)  # pyright: ignore[reportArgumentType]


@pytest.mark.unchecked
@pytest.mark.parametrize("kind", list(nn.layers))
def test_what_is_no_tensor_is_refused(kind):
    layer = nn.create(kind, input_size=3, hidden_size=6)
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(5, 3), torch.ones(2, 3)])
    for wrong in (packed, [[[1.0, 2.0, 3.0]]], np.ones((1, 2, 3), np.float32), None):
        with pytest.raises(ValueError, match=r"expected x \[batch, time, input_size\], a tensor"):
            layer(wrong)
        with pytest.raises(ValueError, match="a tensor"):
            layer.step(wrong)  # pyright: ignore[reportArgumentType]
    for wrong in (1.0, "state", [torch.zeros(1, 6)] * 5):
        with pytest.raises(ValueError, match="expected a state"):
            layer(torch.ones(1, 2, 3), wrong)
