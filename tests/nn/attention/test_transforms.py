"""What PyTorch wraps around an attention method: traces, fake tensors, ``torch.func``, checkpoints, exports."""

import copy
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

MASK = torch.arange(9) < torch.tensor([[9], [6]])


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture
def x():
    return random(2, 9, 8)


@pytest.mark.unchecked  # sizes are tensors in a trace
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_jit_trace(layer, x):
    traced: Any = torch.jit.trace(layer, (x, MASK), check_trace=False)
    for given in (x, random(2, 9, 8)):
        torch.testing.assert_close(traced(given, MASK), layer(given, MASK))


def test_fake_and_meta_tensors_have_the_shape(layer, x):
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert layer(mode.from_tensor(x), mode.from_tensor(MASK)).shape == x.shape
    y = copy.deepcopy(layer).to("meta")(x.to("meta"), MASK.to("meta"))
    assert y.is_meta
    assert y.shape == x.shape


def test_vmap(layer, x):
    many = torch.stack([x, 2 * x, -x])
    together = torch.func.vmap(lambda x: layer(x, MASK))(many)
    torch.testing.assert_close(together, torch.stack([layer(each, MASK) for each in many]))


def test_func_grad_and_jvp(layer, x):
    def loss(x):
        return layer(x, MASK)[MASK].square().sum()

    leaf, direction = x.clone().requires_grad_(), torch.randn_like(x)
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(x), expected)
    slope = torch.func.jvp(loss, (x,), (direction,))[1]
    torch.testing.assert_close(slope, (expected * direction).sum())


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(layer, x, reentrant):
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(layer(leaf, MASK)[MASK].square().sum(), leaf)
    checkpoint(layer, leaf, MASK, use_reentrant=reentrant)[MASK].square().sum().backward()
    torch.testing.assert_close(leaf.grad, expected)


@pytest.mark.slow
def test_export(layer, x):
    program = torch.export.export(layer, (x, MASK)).module()
    torch.testing.assert_close(program(x, MASK)[MASK], layer(x, MASK)[MASK])
