"""Layers with matrices in their step: compiled loops give what PyTorch's own operations give."""

from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

from remanence import nn
from remanence.ops import recurrence
from remanence.ops.scan.tensors import cpu
from remanence.ops.scan.tensors.tensor_trace import TracedTensorStep
from remanence.ops.scan.trace import TracedStep

LAYERS = {
    "gru": {},
    "elman": {},
    "irnn": {},
    "orthogonal": {},
    "orthogonal tanh": {"nonlinearity": "tanh"},
    "orthogonal relu": {"nonlinearity": "relu"},
    "alstm": {"copies": 3},
    "urnn": {},
    "slstm": {"heads": 2},
    "slstm exp": {"forget_gate": "exp"},
    "nbrc": {},
    "mgu": {},
    "cfc": {"backbone_units": 5},
    "cfc no_gate": {"mode": "no_gate", "backbone_layers": 2, "activation": "gelu"},
    "cfc pure": {"mode": "pure", "backbone_layers": 0},
    "cfc mixed": {"mixed_memory": True, "activation": "silu"},
}
MODULES = ("nn.elman", "nn.gated", "nn.cfc", "nn.unitary.orthogonal", "ops.recurrence")


@pytest.fixture(params=LAYERS)
def layer(request):
    torch.manual_seed(0)
    options: dict[str, Any] = LAYERS[request.param]
    made = nn.create(request.param.split()[0], input_size=3, hidden_size=6, **options)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.fixture
def uncompiled(monkeypatch):
    """PyTorch's own operations, from now on."""

    def switch():
        for name in MODULES:
            monkeypatch.setattr(f"remanence.{name}.is_compiled", lambda *tensors, shortest=1: False)

    return switch


def values_and_gradients(layer, x, state=None, **options):
    y, state = layer(x, state, **options)
    leaves = [y, *pytree.tree_leaves(state)]
    loss = torch.stack([(leaf * (1 + place)).square().sum() for place, leaf in enumerate(leaves)]).sum()
    found = torch.autograd.grad(loss, [x, *layer.parameters()], allow_unused=True, materialize_grads=True)
    return [*leaves, *found]


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "batch"), [(torch.float32, 9), (torch.float64, 1)])
def test_compiled_loops_are_right(layer, uncompiled, dtype, batch, monkeypatch):
    calls = []
    monkeypatch.setattr(cpu, "forward", lambda *given, real=cpu.forward: calls.append(1) or real(*given))
    layer = layer.to(dtype)
    x = torch.randn(batch, 3, 33, dtype=dtype).transpose(1, 2).requires_grad_()
    _, state = layer(torch.randn(batch, 2, 3, dtype=dtype))
    state = pytree.tree_map(torch.Tensor.detach, state)
    options = [{}, {"timespans": torch.rand(batch, 33)}] if layer.continuous_time else [{}]
    calls.clear()
    found = [values_and_gradients(layer, x, state, **each) for each in options]
    assert len(calls) == len(options)
    uncompiled()
    expected = [values_and_gradients(layer, x, state, **each) for each in options]
    assert len(calls) == len(options)
    for ours, theirs in zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True):
        error = 1e-4 if dtype == torch.float32 else 1e-10
        torch.testing.assert_close(ours, theirs, rtol=error, atol=error * theirs.abs().max().item())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*nn.layers, *LAYERS])
def test_no_layer_is_traced_again_in_the_next_call(name, monkeypatch):
    options: dict[str, Any] = LAYERS.get(name, {})
    layer, x = nn.create(name.split()[0], input_size=3, hidden_size=6, **options), torch.randn(2, 40, 3)
    layer(x)[0].sum().backward()
    for kind in (TracedStep, TracedTensorStep):
        monkeypatch.setattr(kind, "__init__", lambda *_: pytest.fail("traced again"))
    layer(x)[0].sum().backward()


def test_another_permutation_is_another_step():
    one, other = (nn.AssociativeLSTM(3, 8, copies=2) for _ in range(2))
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(one(x)[0], nn.Memory._run(one, x, one.initial_state(2))[0])
    held = {**one.state_dict(), "permutations": torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 0, 5, 6, 7, 4]])}
    other.load_state_dict(held)
    torch.testing.assert_close(other(x)[0], nn.Memory._run(other, x, other.initial_state(2))[0])
    assert not torch.allclose(other(x)[0], one(x)[0])


def test_parametrized_weights_of_a_gru_are_those_that_count():
    layer = nn.GRU(3, 4)
    torch.nn.utils.parametrizations.weight_norm(layer.rnn, "weight_hh_l0")
    with torch.no_grad():
        layer.rnn.parametrizations.weight_hh_l0.original0.mul_(2)  # pyright: ignore
    x = torch.randn(2, 9, 3)
    torch.testing.assert_close(layer(x)[0], layer.rnn(x)[0])
    layer(x)[0].sum().backward()


@pytest.mark.parametrize("name", ["gru", "elman"])
def test_under_autocast_it_is_what_pytorch_computes(name):
    layer, x = nn.create(name, input_size=3, hidden_size=4), torch.randn(2, 5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not recurrence.is_compiled(x)
        y, _ = layer(x)
    torch.testing.assert_close(y.float(), layer(x)[0], rtol=0.1, atol=0.1)
