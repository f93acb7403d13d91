"""A layer that learns from a stream in pieces against the same layer over the whole stream."""

import pytest
import torch
from torch.utils import _pytree as pytree

from remanence import nn, wiring

TIME = 11
LAYERS = {
    "persistent": lambda: nn.PersistentLinear(3, 4, nonlinearity="tanh"),
    "cff": lambda: nn.CFF(3, 4, horizon=5),
    "cff of two sub-steps": lambda: nn.CFF(3, 4, horizon=5, sub_steps=2, self_synapse="shunting"),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    torch.manual_seed(0)
    return LAYERS[request.param]().double()


def draw(layer):
    x, above = torch.randn(2, TIME, 3, dtype=torch.float64), torch.randn(2, TIME, 4, dtype=torch.float64)
    return x, above, {"timespans": torch.rand(2, TIME, dtype=torch.float64)} if layer.continuous_time else {}


def gradients(module, y, above):
    module.zero_grad()
    (y * above).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in module.named_parameters()}


def in_pieces(online, x, above, options, size=4):
    """The output, the last state of the layer, and the sum of the gradients of all pieces."""
    state, outputs, total = None, [], {}
    for start in range(0, TIME, size):
        span = slice(start, start + size)
        y, state = online(x[:, span], state, **{name: value[:, span] for name, value in options.items()})
        for name, grad in gradients(online, y, above[:, span]).items():
            total[name.removeprefix("layer.")] = total.get(name.removeprefix("layer."), 0) + grad
        outputs.append(y.detach())
    assert state is not None
    return torch.cat(outputs, 1), state[0], total


@pytest.mark.parametrize("resets", [False, True])
def test_pieces_have_the_gradients_of_the_whole(layer, resets):
    x, above, options = draw(layer)
    if resets:
        options["reset"] = torch.rand(2, TIME) < 0.2
    y, state = layer(x, **options)
    expected = y.detach(), tuple(pytree.tree_leaves(state)), gradients(layer, y, above)
    torch.testing.assert_close(in_pieces(nn.Online(layer), x, above, options), expected)


def test_padded_batches(layer):
    x, above, options = draw(layer)
    lengths = torch.tensor([5, TIME])
    y, state = layer(x, lengths=lengths, **options)
    online = nn.Online(layer)
    streamed, after = online(x, lengths=lengths, **options)
    torch.testing.assert_close((streamed, after[0]), (y, tuple(pytree.tree_leaves(state))))
    torch.testing.assert_close(
        list(gradients(online, streamed, above).values()), list(gradients(layer, y, above).values())
    )


def test_steps(layer):
    x, above, options = draw(layer)
    y, state = layer(x, **options)
    expected = list(gradients(layer, y, above).values())
    online = nn.Online(layer)
    online.zero_grad()
    carried = None
    for t, x_t in enumerate(x.unbind(1)):
        y_t, carried = online.step(x_t, carried, **{name: value[:, t] for name, value in options.items()})
        (y_t * above[:, t]).sum().backward()
    assert carried is not None
    torch.testing.assert_close(carried[0], tuple(pytree.tree_leaves(state)))
    torch.testing.assert_close([parameter.grad for parameter in online.parameters()], expected)


@pytest.mark.unchecked
def test_inside_compiled_code():
    torch.manual_seed(0)
    layer = nn.Online(nn.PersistentLinear(3, 4, nonlinearity="tanh"))
    x, state = torch.randn(2, 5, 3), layer(torch.randn(2, 4, 3))[1]
    results = []
    for module in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        y, after = module(x, state)
        results.append((y.detach(), after, torch.autograd.grad(y.square().sum(), list(layer.parameters()))))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    "layer",
    [nn.GRU(3, 4), nn.CFF(3, 4, wiring=wiring.lattice((4,), periodic=True)), nn.CFF(3, 4, input_synapse="affine")],
    ids=["gru", "wired", "affine"],
)
def test_layers_whose_units_see_each_other_are_refused(layer):
    with pytest.raises(ValueError, match="pointwise over units"):
        nn.Online(layer)
