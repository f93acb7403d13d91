"""What DESIGN promises of every layer, checked for every registered one."""

import copy
import pickle

import pytest
import torch
from torch.utils import _pytree as pytree

from remanence import nn, wiring

OPTIONS = {
    "cfc": {"backbone_units": 5},  # a size of its own, too large for finite differences
    "delta_net": {"key_size": 2, "conv_size": 2},  # small, as their states are
    "gated_delta_net": {"num_heads": 2, "conv_size": 2},
    "delta_product": {"key_size": 2, "conv_size": 2},
    "mesa_net": {"key_size": 2, "conv_size": 2},
    "ttt_linear": {"conv_size": 2},
    "m2rnn": {"num_heads": 2, "key_size": 2, "conv_size": 2},
    "cff wired": {"wiring": wiring.lattice((4,), periodic=True)},
    "cff exact": {"input_synapse": "exact"},
}
LAYERS = [*nn.layers, *(name for name in OPTIONS if name not in nn.layers)]


def make(name, input_size=3, hidden_size=4, dtype=torch.float64):
    torch.manual_seed(0)
    options = OPTIONS.get(name, {})
    layer = nn.create(name.split()[0], input_size=input_size, hidden_size=hidden_size, **options).to(dtype)
    with torch.no_grad():  # away from special starting points (identity, zero), where gradients can hide
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return layer


def assert_same(a, b, **tolerance):
    for left, right in zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=True):
        torch.testing.assert_close(left, right, **tolerance)


@pytest.fixture(params=LAYERS)
def layer(request):
    return make(request.param)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("time", [1, 7])
def test_shapes(layer, batch, time):
    y, state = layer(torch.randn(batch, time, 3, dtype=torch.float64))
    assert y.shape == (batch, time, layer.output_size)
    assert (layer.input_size, layer.hidden_size) == (3, 4)
    for leaf in pytree.tree_leaves(state):
        assert leaf.shape[0] == batch


@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_a_split_sequence_gives_the_whole(layer, cut):
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    whole, final = layer(x)
    first, state = layer(x[:, :cut])
    second, state = layer(x[:, cut:], state)
    assert_same((torch.cat([first, second], 1), state), (whole, final))


def test_step_equals_forward(layer):
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    whole, final = layer(x)
    state, outputs = None, []
    for x_t in x.unbind(1):
        y_t, state = layer.step(x_t, state)
        outputs.append(y_t)
    assert_same((torch.stack(outputs, 1), state), (whole, final))


def test_samples_do_not_see_each_other(layer):
    x = torch.randn(3, 6, 3, dtype=torch.float64)
    together, _ = layer(x)
    alone = torch.cat([layer(sample[None])[0] for sample in x])
    torch.testing.assert_close(together, alone)
    again, _ = layer(x)
    torch.testing.assert_close(again, together, rtol=0, atol=0)


def test_gradcheck_over_inputs_state_and_parameters(layer):
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    _, state = layer(torch.randn(2, 2, 3, dtype=torch.float64))
    leaves, tree = pytree.tree_flatten(state)
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(x, *rest):
        state = pytree.tree_unflatten(list(rest[: len(leaves)]), tree)
        values = dict(zip(names, rest[len(leaves) :], strict=True))
        y, state = torch.func.functional_call(layer, values, (x, state))
        return (y, *pytree.tree_leaves(state))

    assert torch.autograd.gradcheck(run, (x, *leaves, *parameters))


def test_copies_pickles_and_state_dicts_keep_the_function(layer):
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    expected, _ = layer(x)
    fresh = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    fresh.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        torch.testing.assert_close(twin(x)[0], expected)


@pytest.mark.unchecked
@pytest.mark.parametrize("name", LAYERS)
def test_device_and_dtype_are_those_of_the_parameters(name):
    options = {"input_size": 3, "hidden_size": 4, **OPTIONS.get(name, {})}
    torch.manual_seed(0)
    expected = nn.create(name.split()[0], **options).double()
    torch.manual_seed(0)
    layer = nn.create(name.split()[0], **options, device="cpu", dtype=torch.float64)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[0], expected(x)[0], rtol=0, atol=0)
    empty = nn.create(name.split()[0], **options, device="meta")
    assert {parameter.device.type for parameter in empty.parameters()} == {"meta"}
    assert empty(torch.randn(2, 5, 3, device="meta"))[0].shape == (2, 5, layer.output_size)
    with pytest.raises(ValueError, match=r"floating-point dtype, got torch\.int64"):
        nn.create(name.split()[0], **options, dtype=torch.int64)


@pytest.mark.parametrize("name", LAYERS)
def test_autocast(name):
    layer = make(name, dtype=torch.float32)
    x = torch.randn(2, 5, 3)
    expected, _ = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer(x)
        y2, _ = layer(x, state)
        outputs, state = [], None
        for x_t in x.unbind(1):
            y_t, state = layer.step(x_t, state)
            outputs.append(y_t)
    assert torch.isfinite(y2.float()).all()
    torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0.1)
    steps = torch.stack(outputs, 1).float()
    torch.testing.assert_close(steps, expected, rtol=0.1, atol=0.1)
    (y.float() + steps).sum().backward()


@pytest.mark.unchecked
def test_wrong_inputs_say_what_was_expected(layer):
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    _, state = layer(x)
    with pytest.raises(ValueError, match=r"input_size 3, got \[2, 5, 4\]"):
        layer(torch.randn(2, 5, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"\[batch, time, input_size\].*got \[2, 3\]"):
        layer(x[:, 0])
    with pytest.raises(ValueError, match=r"\[batch, input_size\]"):
        layer.step(x)
    with pytest.raises(ValueError, match=r"float64.*got torch.float32"):
        layer(x.float())
    with pytest.raises(ValueError, match=r"got torch.int64"):
        layer(x.long())
    with pytest.raises(ValueError, match=r"expected a state of shape"):
        layer(x[:1], state)
    message = r"expected timespans \[2, 5\]" if layer.continuous_time else "is not a continuous-time layer"
    with pytest.raises(ValueError, match=message):
        layer(x, timespans=torch.ones(2, 4, dtype=torch.float64))


@pytest.mark.parametrize("name", [name for name in LAYERS if make(name).continuous_time])
def test_timespans_of_one_change_nothing(name):
    layer = make(name)
    x, ones = torch.randn(2, 5, 3, dtype=torch.float64), torch.ones(2, 5, dtype=torch.float64)
    assert_same(layer(x), layer(x, timespans=ones))
    assert_same(layer.step(x[:, 0]), layer.step(x[:, 0], timespans=ones[:, 0]))
    timespans = torch.rand(2, 5, dtype=torch.float64)
    whole, _ = layer(x, timespans=timespans)
    first, state = layer(x[:, :2], timespans=timespans[:, :2])
    second, _ = layer(x[:, 2:], state, timespans=timespans[:, 2:])
    assert_same(whole, torch.cat([first, second], 1))
    assert not torch.allclose(whole, layer(x)[0])


@pytest.mark.unchecked
@pytest.mark.parametrize("name", list(nn.layers))
@pytest.mark.parametrize("size", [0, -4, 2.0, True])
def test_wrong_sizes_are_refused(name, size):
    with pytest.raises(ValueError, match="must be a positive integer"):
        nn.create(name, input_size=3, hidden_size=size)


@pytest.mark.unchecked
def test_a_state_of_another_dtype_is_refused(layer):
    state = pytree.tree_map(lambda leaf: leaf.float(), layer.initial_state(2))
    with pytest.raises(ValueError, match=r"expected a state of torch\.\w+, as its parameters are, got torch"):
        layer(torch.randn(2, 5, 3, dtype=torch.float64), state)


@pytest.mark.unchecked
def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match="'lsmt'; did you mean lstm"):
        nn.create("lsmt", input_size=3, hidden_size=4)
    with pytest.raises(ValueError, match=r"layer 'lstm'.*colour"):
        nn.create("lstm", input_size=3, hidden_size=4, colour="red")
    with pytest.raises(ValueError, match="could be imported"):
        nn.create("no.such.module:Layer", input_size=3, hidden_size=4)


def test_a_layer_of_the_user_joins_by_its_path():
    layer = nn.create("remanence.nn.elman:Elman", input_size=3, hidden_size=4)
    assert isinstance(layer, nn.Elman)


def test_parameters_of_another_dtype_may_be_exchanged_for_a_call(layer):
    x = torch.randn(2, 5, 3)
    values = {name: value.float() for name, value in (*layer.named_parameters(), *layer.named_buffers())}
    y, state = torch.func.functional_call(layer, values, x)
    assert {leaf.dtype for leaf in (y, *pytree.tree_leaves(state))} == {torch.float32}
    torch.testing.assert_close(y, layer.float()(x)[0])
