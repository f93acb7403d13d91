"""What PyTorch wraps around a layer: traces, fake tensors, ``torch.func``, checkpoints; checked for every layer."""

import copy
import gc
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad
from torch.autograd.functional import jacobian
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from remanence import nn, wiring

OPTIONS = {
    "cff wired": {"wiring": wiring.lattice((6,), periodic=True)},
    "cff exact": {"input_synapse": "exact"},
    "cfc mixed": {"mixed_memory": True},
    "ltc sparse": {"wiring": wiring.lattice((6,), periodic=True)},
    "ltc rk4": {"solver": "rk4", "sub_steps": 2},
    "fast_weights attention": {"form": "attention"},
    "orthogonal tanh": {"nonlinearity": "tanh"},
}
LAYERS = [*nn.layers, *OPTIONS]


def build(name):
    torch.manual_seed(0)
    made = nn.create(name.split()[0], input_size=3, hidden_size=6, **OPTIONS.get(name, {})).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.fixture(params=LAYERS)
def layer(request):
    return build(request.param)


@pytest.fixture
def x():
    return torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def assert_same(a, b):
    for left, right in zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.unchecked  # sizes are tensors in a trace
def test_jit_trace_records_the_loop(layer, x):
    traced: Any = torch.jit.trace(layer, x, check_trace=False)
    other = torch.randn_like(x)
    gc.collect()
    for given in (x, other):
        assert_same(traced(given), layer(given))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_jit_script_says_what_works(layer):
    with pytest.raises(NotImplementedError, match=r"torch\.jit\.trace.*torch\.export"):
        torch.jit.script(torch.nn.Sequential(layer))


@pytest.mark.slow
@pytest.mark.parametrize("fake_input", [True, False])
def test_fake_tensors_have_the_shapes(layer, x, fake_input):
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    expected = layer(x)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        found = layer(mode.from_tensor(x) if fake_input else x)
        y, _ = layer.step(mode.from_tensor(x[:, 0]))
    for fake, real in zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True):
        assert isinstance(fake, FakeTensor)
        assert fake.shape == real.shape
    assert y.shape == (2, layer.output_size)


def test_meta_tensors_have_the_shapes(layer, x):
    y, _ = copy.deepcopy(layer).to("meta")(x.to("meta"))
    assert y.is_meta
    assert y.shape == (2, 4, layer.output_size)


def test_vmap_over_inputs(layer, x):
    many = torch.stack([x, 2 * x, -x])
    together = torch.func.vmap(layer)(many)
    alone = [layer(each) for each in many]
    assert_same(together, pytree.tree_map(lambda *leaves: torch.stack(leaves), *alone))


def test_vmap_over_parameters(layer, x):
    twins = [layer, copy.deepcopy(layer)]
    with torch.no_grad():
        for parameter in twins[1].parameters():
            parameter.mul_(1.1)
    parameters, buffers = torch.func.stack_module_state(twins)

    def run(parameters, buffers):
        return torch.func.functional_call(layer, (parameters, buffers), (x,))[0]

    assert_same(torch.func.vmap(run)(parameters, buffers), torch.stack([twin(x)[0] for twin in twins]))


def test_func_grad_equals_autograd(layer, x):
    parameters = dict(layer.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(layer, parameters, (x,))[0].square().sum()

    found = torch.func.grad(loss, argnums=(0, 1))(parameters, x)
    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad(loss(parameters, leaf), [*parameters.values(), leaf])
    assert_same(pytree.tree_leaves(found), expected)


def test_forward_mode_equals_reverse_mode(layer, x):
    direction = torch.randn_like(x)
    of_func = torch.func.jvp(lambda x: layer(x)[0], (x,), (direction,))[1]
    with forward_ad.dual_level():
        y, _ = layer(forward_ad.make_dual(x, direction))
        of_dual = forward_ad.unpack_dual(y).tangent
    leaf = x.clone().requires_grad_()
    y, _ = layer(leaf)
    above = torch.randn_like(y)
    (grad,) = torch.autograd.grad(y, leaf, above)
    torch.testing.assert_close((of_func * above).sum(), (grad * direction).sum())
    torch.testing.assert_close(of_dual, of_func)


def test_batches_of_gradients(layer, x):
    def total(x):
        return layer(x)[0].sum((0, 1))

    torch.testing.assert_close(jacobian(total, x, vectorize=True), jacobian(total, x))


def test_double_backward_where_one_argument_comes_from_another(layer, x):
    """The state is computed from x: each of the two must get its own share of the gradient, and no other."""

    def curvature(x, grad):
        def loss(x):
            mean = x.mean((1, 2))
            _, state = layer(x[:, :2])  # this state depends on x, too
            state = pytree.tree_map(lambda leaf: leaf + mean.view(-1, *[1] * (leaf.ndim - 1)) ** 2, state)
            y, _ = layer(x * mean[:, None, None], state)
            return y.square().sum()

        return grad(lambda x: grad(loss)(x).square().sum())(x)

    def by_autograd(function):
        def grad(x):
            x = x if x.requires_grad else x.clone().requires_grad_()
            return torch.autograd.grad(function(x), x, create_graph=True)[0]

        return grad

    torch.testing.assert_close(curvature(x, by_autograd), curvature(x, torch.func.grad))


def test_a_subclass_of_tensor(layer, x):
    class Named(torch.Tensor):
        pass

    y, _ = layer(x.as_subclass(Named))
    torch.testing.assert_close(y.as_subclass(torch.Tensor), layer(x)[0])


def test_negated_views(layer, x):
    """The imaginary part of a conjugate is a view of memory that holds its negative."""
    lazily = torch.complex(x, x).conj().imag
    assert lazily.is_neg()
    assert_same(layer(lazily), layer(-x))
    leaf = x.clone().requires_grad_()
    y, _ = layer(leaf)
    (found,) = torch.autograd.grad(torch.complex(y, y).conj().imag.sum(), leaf)
    (expected,) = torch.autograd.grad(-layer(leaf)[0].sum(), leaf)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(layer, x, reentrant):
    leaf = x.clone().requires_grad_()
    wanted = [leaf, *layer.parameters()]
    y, _ = checkpoint(layer, leaf, use_reentrant=reentrant)
    y.square().sum().backward()
    found = [tensor.grad for tensor in wanted]
    assert_same(found, torch.autograd.grad(layer(leaf)[0].square().sum(), wanted))


def gradients_of(y, x, layer):
    return torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])


@pytest.mark.slow
@pytest.mark.unchecked  # their checks are nodes of the graph, too
def test_compiled_code_gives_the_same_values_and_gradients_and_does_not_unroll_time(layer):
    graphs, compiled_so_far = [], 0
    differentiate = torch._dynamo.lookup_backend("aot_eager")

    def count(graph, examples):
        graphs.append(sum(node.op.startswith("call") for node in graph.graph.nodes))
        return differentiate(graph, examples)

    torch._dynamo.reset()
    compiled = torch.compile(layer, backend=count, fullgraph=True)
    for time in (30, 31, 32, 33):
        x = torch.randn(2, time, 3, dtype=torch.float64, requires_grad=True)
        found, expected = ((y, *gradients_of(y, x, layer)) for y in (compiled(x)[0], layer(x)[0]))
        assert_same(found, expected)
        if time == 31:  # the first other length makes the length a symbol
            compiled_so_far = len(graphs)
    assert max(graphs) < 120
    assert len(graphs) <= compiled_so_far + 1


def test_states_are_copies(layer, x):
    def spoil(state):
        with torch.no_grad():
            for leaf in pytree.tree_leaves(state):
                leaf.fill_(7.0)

    def check(given, result, state):
        kept = [leaf.clone() for leaf in pytree.tree_leaves((given, result))]
        spoil(state)
        assert_same([leaf.detach() for leaf in pytree.tree_leaves((given, result))], [leaf.detach() for leaf in kept])

    _, before = layer(x)
    check((x, before), *layer(x, before))
    check((x, before), *layer(x[:, :1], before))
    check((x, before), *layer(x[:, :0], before))
    check((x, before), *layer.step(x[:, 0], before))
    with torch.no_grad():
        check((x, before), *layer(x[:1], pytree.tree_map(lambda leaf: leaf[:1], before)))
    first, *others = pytree.tree_leaves(layer.initial_state(2))
    for other in others:
        check(other, first.clone(), first)
