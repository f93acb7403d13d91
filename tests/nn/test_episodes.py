"""Padded batches and resets, for every registered layer: as if each piece were run by itself."""

import math
from itertools import pairwise

import pytest
import torch
from torch.utils import _pytree as pytree

from remanence import nn, wiring
from remanence.nn import gated
from tests.nn.test_contract import LAYERS, assert_same, make

BATCH, TIME = 4, 20
LENGTHS = torch.tensor([20, 7, 1, 0])


@pytest.fixture(params=LAYERS)
def layer(request):
    return make(request.param)


def draw(layer, grad=False):
    x = torch.randn(BATCH, TIME, 3, dtype=torch.float64)
    options = {"timespans": torch.rand(BATCH, TIME, dtype=torch.float64)} if layer.continuous_time else {}
    _, state = layer(torch.randn(BATCH, 2, 3, dtype=torch.float64))
    state = pytree.tree_map(lambda leaf: leaf.detach().requires_grad_(grad), state)
    return x.requires_grad_(grad), state, options


def select(sample, start, stop, x, state, options):
    """One piece of one sample."""
    rows = slice(sample, sample + 1)
    cut = {name: value[rows, start:stop] for name, value in options.items()}
    return x[rows, start:stop], None if state is None else pytree.tree_map(lambda leaf: leaf[rows], state), cut


def run_by_hand(layer, x, state, options, reset, lengths):
    """Run every piece of every sample by itself."""
    outputs, finals = [], []
    for sample, length in enumerate(lengths.tolist()):
        starts = [0, *[t for t in range(length) if reset[sample, t]], length]
        given, pieces = pytree.tree_map(lambda leaf, s=sample: leaf[s : s + 1], state), []
        for piece, (start, stop) in enumerate(pairwise(starts)):
            if stop > start:
                x_cut, _, cut = select(sample, start, stop, x, None, options)
                y, given = layer(x_cut, given if piece == 0 else None, **cut)
                pieces.append(y)
        pieces.append(x.new_zeros(1, TIME - length, layer.output_size))
        outputs.append(torch.cat(pieces, 1))
        finals.append(given)
    leaves = zip(*map(pytree.tree_leaves, finals), strict=True)
    return torch.cat(outputs), [torch.cat(each) for each in leaves]


def gradients(layer, y, state, x, before):
    """Of a sum with weights of outputs and states, by inputs, states and parameters."""
    leaves = [y, *pytree.tree_leaves(state)]
    generator = torch.Generator().manual_seed(5)
    weights = [torch.rand(leaf.shape, generator=generator, dtype=leaf.dtype) for leaf in leaves]
    terms = [(leaf * weight.to(leaf.device)).sum() for leaf, weight in zip(leaves, weights, strict=True)]
    loss = torch.stack(terms).sum()
    wanted = [x, *pytree.tree_leaves(before), *layer.parameters()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, wanted, strict=True)]


@pytest.mark.parametrize("how", ["lengths", "reset", "both"])
def test_pieces_are_as_if_run_by_themselves(layer, how):
    x, state, options = draw(layer, grad=True)
    reset = torch.rand(BATCH, TIME) < (0.2 if how != "lengths" else 0)
    reset[0, 0] = how != "lengths"
    lengths = LENGTHS if how != "reset" else torch.full((BATCH,), TIME)
    given = {} if how == "reset" else {"lengths": lengths}
    given |= {} if how == "lengths" else {"reset": reset}
    y, final = layer(x, state, **options, **given)
    by_hand = run_by_hand(layer, x, state, options, reset, lengths)
    assert_same((y, final), by_hand)
    assert_same(gradients(layer, y, final, x, state), gradients(layer, *by_hand, x, state))


def test_padding_does_not_matter(layer):
    x, state, options = draw(layer)
    expected, final = layer(x, state, lengths=LENGTHS, **options)
    padding = torch.arange(TIME) >= LENGTHS[:, None]
    x = torch.where(padding[..., None], math.nan, x).requires_grad_()
    options = {name: torch.where(padding, math.nan, value) for name, value in options.items()}
    y, last = layer(x, state, lengths=LENGTHS.to(torch.int32), **options)
    assert_same((y, last), (expected, final), rtol=0, atol=0)
    y.sum().backward()
    assert not y[padding].any()
    assert x.grad is not None
    assert not x.grad[padding].any()
    for gradient in (x.grad, *(parameter.grad for parameter in layer.parameters())):
        assert gradient is None or torch.isfinite(gradient).all()


def test_lengths_of_the_whole_change_nothing(layer):
    x, state, options = draw(layer)
    whole = torch.full((BATCH,), TIME)
    assert_same(layer(x, state, lengths=whole, **options), layer(x, state, **options))


@pytest.fixture
def packed(monkeypatch):
    """What is packed; on GPUs cuDNN runs it, and here the same code of PyTorch's."""
    batches = []
    monkeypatch.setattr(gated._Gated, "_packs_on", ("cpu", "cuda"))
    pack = gated.pack_padded_sequence
    monkeypatch.setattr(
        gated, "pack_padded_sequence", lambda x, *rest, **how: batches.append(x) or pack(x, *rest, **how)
    )
    return batches


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("lengths", [LENGTHS, LENGTHS.flip(0).to(torch.int32), torch.zeros(BATCH, dtype=torch.int64)])
@pytest.mark.parametrize("has_state", [True, False])
def test_packed_for_cudnn(name, lengths, has_state, packed):
    layer = make(name)
    x, state, _ = draw(layer, grad=True)
    given = state if has_state else None
    y, final = layer(x, given, lengths=lengths)
    assert len(packed) == 1
    expected, last = layer(x, given, lengths=lengths, reset=torch.zeros(BATCH, TIME, dtype=torch.bool))
    assert len(packed) == 1
    assert_same((y, final), (expected, last))
    before = state if has_state else ()
    found = gradients(layer, y, final, x, before)
    assert_same(found, gradients(layer, expected, last, x, before))
    assert found[0].any() == (lengths > 0).any()


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_packed_batches_keep_the_rest_of_the_contract(name, packed):
    layer = make(name, dtype=torch.float32)
    x, lengths = torch.randn(BATCH, TIME, 3), LENGTHS
    expected = layer(x, lengths=lengths)
    whole = torch.func.vmap(lambda x: layer(x, lengths=lengths))(x[None])  # cuDNN has no rule for it
    assert_same(pytree.tree_map(lambda leaf: leaf[0], whole), expected)
    assert len(packed) == 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer(x, lengths=lengths)
    assert {leaf.dtype for leaf in pytree.tree_leaves(state)} == {y.dtype}
    torch.testing.assert_close(y.float(), expected[0], rtol=0.1, atol=0.1)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_padded_batches_on_a_gpu_equal_those_on_a_cpu(name):
    layer = make(name)
    x, state, _ = draw(layer, grad=True)
    y, final = layer(x, state, lengths=LENGTHS)
    expected = [y, *pytree.tree_leaves(final), *gradients(layer, y, final, x, state)]
    layer, x = layer.cuda(), x.detach().cuda().requires_grad_()
    state = pytree.tree_map(lambda leaf: leaf.detach().cuda().requires_grad_(), state)
    for lengths in (LENGTHS, LENGTHS.cuda()):
        y, final = layer(x, state, lengths=lengths)
        found = [y, *pytree.tree_leaves(final), *gradients(layer, y, final, x, state)]
        assert_same([leaf.cpu() for leaf in found], expected)


@pytest.mark.slow
def test_a_long_sequence_in_single_precision(layer):
    layer = layer.float()
    x, reset = torch.randn(3, 70, 3), torch.rand(3, 70) < 0.1
    y, _ = layer(x, reset=reset)
    starts = [0, *reset[1].nonzero().flatten().tolist(), 70]
    pieces = [layer(x[1:2, a:b])[0] for a, b in pairwise(starts) if b > a]
    torch.testing.assert_close(y[1:2], torch.cat(pieces, 1))


@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["lstm", "ltc", "cff", "elman"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": torch.tensor([1, 2, 3])}, r"lengths must be \[batch\] = \[4\] of torch\.int64, got \[3\]"),
        ({"lengths": [1, 2, 3, 4]}, r"lengths must be .* got <class 'list'>"),
        ({"lengths": torch.tensor([1.0, 2, 3, 4])}, r"got \[4\] of torch\.float32"),
        (
            {"lengths": torch.tensor([1, 2, 3, 21])},
            r"from 0 to 20, the steps of x, got \[1, 2, 3, 21\]",
        ),
        ({"lengths": torch.tensor([1, 2, 3, -1])}, r"from 0 to 20"),
        ({"reset": torch.zeros(4, 20)}, r"reset must be \[batch, time\] = \[4, 20\] of torch\.bool, got .*float32"),
        ({"reset": torch.zeros(4, 19, dtype=torch.bool)}, r"= \[4, 20\] of torch\.bool, got \[4, 19\]"),
    ],
)
def test_wrong_ones_say_what_was_expected(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name)(torch.randn(BATCH, TIME, 3, dtype=torch.float64), **options)


@pytest.mark.parametrize("solver", ["explicit_euler", "rk4"])
def test_other_solvers_of_ltc(solver):
    layer = nn.LTC(3, 4, solver=solver, wiring=wiring.dense(4)).double()
    x, state, options = draw(layer, grad=True)
    reset = torch.rand(BATCH, TIME) < 0.2
    y, final = layer(x, state, lengths=LENGTHS, reset=reset, **options)
    assert_same((y, final), run_by_hand(layer, x, state, options, reset, LENGTHS))


@pytest.mark.parametrize("name", LAYERS)
def test_in_16_bits(name):
    layer = make(name, dtype=torch.float32)
    x, reset = torch.randn(BATCH, TIME, 3), torch.rand(BATCH, TIME) < 0.2
    expected, _ = layer(x, lengths=LENGTHS, reset=reset)
    y, state = layer.bfloat16()(x.bfloat16(), lengths=LENGTHS, reset=reset)
    assert {leaf.dtype for leaf in (y, *pytree.tree_leaves(state))} == {torch.bfloat16}
    torch.testing.assert_close(y.float(), expected, rtol=0.2, atol=0.2)


class Leaky(nn.Memory):
    """A memory of a user's that knows nothing of padding or resets."""

    continuous_time = True

    def __init__(self):
        super().__init__(3, 3)
        self.rate = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def _advance(self, x_t, state, timespans=None):
        decay = torch.exp(-self.rate * (1 if timespans is None else timespans[:, None]))
        h = decay * state + x_t
        return h, h


class Fast(Leaky):
    """The same with a way of its own for whole sequences."""

    def _run(self, x, state, timespans=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        outputs = []
        for t, x_t in enumerate(x.unbind(1)):
            y_t, state = self._advance(x_t, state, None if timespans is None else timespans[:, t])
            outputs.append(y_t)
        return torch.stack(outputs, 1), state


@pytest.mark.parametrize("kind", [Leaky, Fast])
def test_a_memory_of_ones_own(kind):
    layer = kind()
    x, state, options = draw(layer, grad=True)
    reset = torch.rand(BATCH, TIME) < 0.2
    y, final = layer(x, state, lengths=LENGTHS, reset=reset, **options)
    assert_same((y, final), run_by_hand(layer, x, state, options, reset, LENGTHS))
