"""Layers and scans inside ``torch.compile(fullgraph=True)``: one node, with its gradients, for any length."""

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from functools import partial

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

import remanence
from remanence import models, nn
from remanence.ops import opaque_call
from remanence.ops.scan import opaque_scan
from tests.nn.test_contract import LAYERS, assert_same, make


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


@pytest.fixture(params=LAYERS)
def layer(request):
    return make(request.param)


def compile_fully(function, backend="aot_eager"):
    return torch.compile(function, backend=backend, fullgraph=True)


def results(function, layer, x, *args, **options):
    """Outputs, states, and gradients of a sum of their squares."""
    y, state = function(x, *args, **options)
    leaves = [y, *pytree.tree_leaves(state)]
    loss = torch.stack([leaf.square().sum() for leaf in leaves]).sum()
    wanted = [x, *layer.parameters()]
    grads = torch.autograd.grad(loss, wanted, allow_unused=True)
    return leaves, [torch.zeros_like(w) if g is None else g for g, w in zip(grads, wanted, strict=True)]


@pytest.mark.slow
@pytest.mark.unchecked
def test_a_padded_batch_with_resets(layer):
    x = torch.randn(3, 8, 3, dtype=torch.float64, requires_grad=True)
    _, state = layer(torch.randn(3, 2, 3, dtype=torch.float64))
    state = pytree.tree_map(lambda leaf: leaf.detach(), state)
    options = {"lengths": torch.tensor([8, 5, 0]), "reset": torch.rand(3, 8) < 0.2}
    if layer.continuous_time:
        options["timespans"] = torch.rand(3, 8, dtype=torch.float64)
    compiled = compile_fully(layer)
    assert_same(results(compiled, layer, x, state, **options), results(layer, layer, x, state, **options))


@pytest.mark.slow
@pytest.mark.unchecked
def test_a_step(layer):
    x, state = torch.randn(2, 3, dtype=torch.float64, requires_grad=True), layer.initial_state(2)
    assert_same(results(compile_fully(layer.step), layer, x, state), results(layer.step, layer, x, state))


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["cff", "ltc", "lstm"])
def test_nothing_is_kept_without_a_backward_pass(name):
    layer = make(name)
    compiled, x = compile_fully(layer), torch.randn(2, 5, 3, dtype=torch.float64)
    y, _ = compiled(x)
    assert len(opaque_call._RECORDS) == 1
    y.sum().backward()
    del y
    gc.collect()
    assert len(opaque_call._RECORDS) == 0
    y = compiled(x)
    assert len(opaque_call._RECORDS) == 1
    del y
    gc.collect()
    assert len(opaque_call._RECORDS) == 0
    with torch.no_grad():
        assert torch.equal(compiled(x)[0], layer(x)[0])


@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["cff", "gru"])
def test_one_graph_is_differentiated_twice(name):
    layer, x = make(name), torch.randn(2, 5, 3, dtype=torch.float64)
    y, _ = compile_fully(layer, "eager")(x)
    parameters = list(layer.parameters())
    first = torch.autograd.grad(y.sum(), parameters, retain_graph=True)
    second = torch.autograd.grad(y.sum(), parameters)
    assert_same(first, second)
    assert_same(first, torch.autograd.grad(layer(x)[0].sum(), parameters))


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("backend", "why"),
    [("eager", "no second derivatives"), ("aot_eager", "not currently support double backward")],
)
def test_second_derivatives_are_refused(backend, why):
    layer, x = make("persistent"), torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    y, _ = compile_fully(layer, backend)(x)
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises((ValueError, RuntimeError), match=why):
        torch.autograd.grad(grad.square().sum(), x)


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["cff", "ltc", "lstm", "urnn", "fast_weights"])
def test_under_autocast_it_gives_the_dtypes_of_eager_code(name):
    layer, x = make(name, dtype=torch.float32), torch.randn(2, 5, 3)

    def run(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return layer(x)

    found, expected = compile_fully(run)(x), run(x)
    assert [leaf.dtype for leaf in pytree.tree_leaves(found)] == [leaf.dtype for leaf in pytree.tree_leaves(expected)]
    assert_same(found, expected)


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["lstm", "ltc", "orthogonal"])
def test_a_copy_runs_as_itself(name):
    layer, x = make(name), torch.randn(2, 5, 3, dtype=torch.float64)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch._dynamo.reset()
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.mul_(0.5)
        assert_same(compile_fully(twin)(x), twin(x))
        assert not torch.equal(twin(x)[0], layer(x)[0])


@pytest.mark.unchecked
def test_weights_that_were_replaced_are_those_that_count():
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    source, layer = make("gru"), nn.GRU(3, 4, device="meta", dtype=torch.float64)
    layer.load_state_dict(source.state_dict(), assign=True)
    assert_same(compile_fully(layer)(x), source(x))


@pytest.mark.unchecked
def test_hooks_run_once():
    layer, calls = make("persistent"), []
    layer.register_forward_hook(lambda module, args, output: calls.append(1))
    torch.compile(layer, backend="aot_eager")(torch.randn(2, 5, 3, dtype=torch.float64))
    assert calls == [1]


@pytest.mark.unchecked
def test_with_activation_checkpointing():
    layer, x = make("cff"), torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)

    def run(x):
        return checkpoint(layer, x, use_reentrant=False)

    assert_same(results(compile_fully(run), layer, x), results(layer, layer, x))


@pytest.mark.unchecked
def test_a_batch_of_nothing():
    layer = make("cff")
    compiled = compile_fully(layer)
    y, _ = compiled(torch.randn(0, 5, 3, dtype=torch.float64))
    y.sum().backward()
    assert y.shape == (0, 5, 4)


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["cff", "ltc", "gru"])
def test_with_the_default_backend(name):
    layer = make(name)
    compiled = compile_fully(layer, "inductor")
    for time in (6, 7, 8):
        x = torch.randn(2, time, 3, dtype=torch.float64, requires_grad=True)
        assert_same(results(compiled, layer, x), results(layer, layer, x))


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("mixer", ["cff", "lstm"])
def test_a_transformer_of_memories(mixer):
    model = models.Transformer(8, input_size=8, mixer=mixer, width=8, layers=2, heads=2, max_length=16, pooling="mean")
    x = torch.randn(2, 6, 8)
    torch.testing.assert_close(compile_fully(model)(x), model(x))


def leak(decay, state, inputs, params):
    (h,), (x,), (weight,) = state, inputs, params
    return (decay * h + torch.tanh(x + h @ weight),)


def fade(state, inputs, params):
    return (params[0] * state[0] + inputs[0],)


class Scans(torch.nn.Module):
    """A module of a user's, with a pointwise step and one with a matrix."""

    def __init__(self):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.rand(4, dtype=torch.float64))
        self.weight = torch.nn.Parameter(torch.randn(4, 4, dtype=torch.float64) / 2)

    def forward(self, x, **options):
        start = x.new_zeros(len(x), 4)
        (h,), _ = remanence.scan(fade, [x.relu()], [start], [self.rate])
        (h,), (last,) = remanence.scan(partial(leak, 0.5), [h], [start], [self.weight], **options)
        return 2 * h, last


@pytest.mark.unchecked
def test_scans_of_a_module_of_ones_own():
    module, graphs = Scans(), []
    differentiate = torch._dynamo.lookup_backend("aot_eager")

    def count(graph, examples):
        graphs.append(graph)
        return differentiate(graph, examples)

    compiled = torch.compile(module, backend=count, fullgraph=True)
    for time in (5, 6, 7, 8):
        x = torch.randn(3, time, 4, dtype=torch.float64, requires_grad=True)
        options = {"lengths": torch.tensor([time, 2, 0]), "reset": torch.rand(3, time) < 0.3}
        assert_same(results(compiled, module, x, **options), results(module, module, x, **options))
    assert len(graphs) == 2  # of the first length, and of any


class Methods(torch.nn.Module):
    """Steps that are methods, of the module itself and of an object without parameters."""

    def __init__(self):
        super().__init__()
        self.scale, self.weight = 0.5, torch.nn.Parameter(torch.randn(4, 4, dtype=torch.float64) / 2)
        self.other = Squash(2.0)

    def step(self, state, inputs, params):
        return leak(self.scale, state, inputs, params)

    def scaled(self, factor, state, inputs, params, more=0.0):
        return leak(factor * self.scale + more, state, inputs, params)

    def forward(self, x):
        start = x.new_zeros(len(x), 4)
        (h,), _ = remanence.scan(self.step, [2 * x], [start], [self.weight])
        (h,), _ = remanence.scan(partial(self.scaled, 0.3, more=0.1), [h], [start], [self.weight])
        (h,), last = remanence.scan(self.other.step, [h], [start])
        return h + 1, last


class Squash:
    def __init__(self, gain):
        self.gain = gain

    def step(self, state, inputs, params):
        return (torch.tanh(self.gain * state[0] + inputs[0]),)


@pytest.mark.unchecked
def test_steps_that_are_methods():
    module = Methods()
    compiled = compile_fully(module)
    for time in (5, 6):
        x = torch.randn(2, time, 4, dtype=torch.float64, requires_grad=True)
        assert_same(results(compiled, module, x), results(module, module, x))
    module.scale, module.other.gain = 0.8, 0.1
    assert_same(results(compiled, module, x), results(module, module, x))
    module.other = Squash(3.0)
    assert_same(results(compiled, module, x), results(module, module, x))


def is_kept(owner):
    return any(isinstance(key, tuple) and owner in key for key in opaque_scan._SCANS)


@pytest.mark.unchecked
def test_the_owner_of_a_step_is_not_kept():
    module = Methods()
    compile_fully(module)(torch.randn(2, 5, 4, dtype=torch.float64))
    held, owned = weakref.ref(module), id(module)
    assert is_kept(owned)
    torch._dynamo.reset()
    del module
    gc.collect()
    assert held() is None
    assert not is_kept(owned)


class Hidden(Methods):
    def step(self, state, inputs, params):
        return (torch.tanh(state[0] @ self.weight + inputs[0]),)


@pytest.mark.unchecked
@pytest.mark.filterwarnings("ignore::remanence.ops.dispatch.UntraceableWarning")
def test_a_parameter_that_a_step_takes_from_elsewhere_does_not_lose_its_gradient():
    with pytest.raises(ValueError, match=r"a tensor \[4, 4\] that requires a gradient.*pass it in params"):
        compile_fully(Hidden())(torch.randn(2, 5, 4, dtype=torch.float64))


IMPORTED_INSIDE = """
import torch
with torch.inference_mode(), torch.autocast("cpu"):
    from remanence import nn
layer = nn.GRU(3, 4)
y, _ = torch.compile(layer, backend="aot_eager", fullgraph=True)(torch.randn(2, 5, 3))
assert y.dtype == torch.float32
y.sum().backward()
layer(torch.randn(2, 5, 3))[0].sum().backward()
"""


@pytest.mark.slow
def test_it_may_be_imported_in_any_context():
    subprocess.run([sys.executable, "-c", IMPORTED_INSIDE], check=True)


@pytest.mark.unchecked
def test_parameters_that_were_replaced_are_named():
    layer, x = make("gru"), torch.randn(2, 5, 3, dtype=torch.float64)
    assert isinstance(layer.rnn, torch.nn.Module)
    torch.nn.utils.parametrizations.weight_norm(layer.rnn, "weight_hh_l0")
    with pytest.raises(Exception, match=r"parameters of GRU were replaced.*call its \.to\(\)"):
        compile_fully(layer, "eager")(x)
    torch._dynamo.reset()
    layer.to("cpu")
    assert_same(compile_fully(layer, "eager")(x), layer(x))
