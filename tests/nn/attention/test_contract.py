"""What every attention method promises."""

import copy
import pickle

import pytest
import torch

from remanence.nn import attention


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_there_are_the_eleven_of_the_long_range_arena():
    assert set(attention.methods) >= {
        "full", "local", "linear", "reformer", "strided", "sinkhorn", "linformer", "performer", "synthesizer",
        "longformer", "bigbird",
    }  # fmt: skip


@pytest.mark.parametrize("time", [1, 3, 17, 65])
def test_padding_changes_nothing(layer, time):
    lengths = [time, max(1, time // 2), 1]
    mask = torch.arange(time) < torch.tensor(lengths)[:, None]
    x = random(3, time, 8).requires_grad_()
    y = layer(x, mask)
    for sample, length in enumerate(lengths):
        torch.testing.assert_close(y[sample, :length], layer(x[sample : sample + 1, :length])[0])
    other = torch.where(mask[..., None], x, 100 * random(3, time, 8))
    torch.testing.assert_close(layer(other, mask)[mask], y[mask], rtol=0, atol=0)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    x.grad = None
    layer(x, mask)[mask].sum().backward()
    assert x.grad is not None
    assert not x.grad[~mask].any()


@pytest.mark.parametrize("time", [3, 17, 65])
def test_the_future_changes_nothing(make, time):
    for name in (name for name in attention.methods if name != "linformer"):
        causal, both_ways = make(name, causal=True), make(name)
        both_ways.load_state_dict(causal.state_dict())
        x = random(2, time, 8)
        other = x.clone()
        other[:, time // 2 + 1 :] = random(2, time - time // 2 - 1, 8)
        past = slice(0, time // 2 + 1)
        torch.testing.assert_close(causal(other)[:, past], causal(x)[:, past], msg=lambda text, name=name: name + text)
        changed = (both_ways(other) - both_ways(x))[:, past].abs().max()
        # A random synthesizer or a hash can miss a particular pair, but not all of them.
        assert changed > 1e-6, name


def test_gradcheck(layer):
    x = random(1, 6, 8).requires_grad_()
    mask = torch.tensor([[True] * 5 + [False]])
    parameters = [parameter for parameter in layer.parameters() if parameter.numel() < 300]
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, mask)[:, :5], (x, *parameters), fast_mode=True)


@pytest.mark.parametrize("time", [1, 3, 17, 65])
def test_samples_do_not_see_each_other(layer, time):
    x = random(3, time, 8)
    torch.testing.assert_close(layer(x), torch.cat([layer(sample[None]) for sample in x]))


def test_no_positions_at_all(layer):
    assert layer(random(3, 0, 8)).shape == (3, 0, 8)


def test_copies_pickles_and_state_dicts_keep_the_function(layer, make):
    x = random(2, 9, 8)
    name = next(name for name in attention.methods if attention.methods[name] is type(layer))
    fresh = make(name, causal=layer.causal)
    fresh.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        torch.testing.assert_close(twin(x), layer(x))


def test_training_mode_in_low_precision(layer):
    layer = layer.float().train()
    x, mask = torch.randn(2, 17, 8), torch.arange(17) < torch.tensor([[17], [9]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x, mask)
    assert torch.isfinite(y.float()[mask]).all()
    y.float()[mask].sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())


@pytest.mark.unchecked
def test_wrong_inputs_say_what_was_expected(layer):
    with pytest.raises(ValueError, match=r"width 8, got \[2, 5, 4\]"):
        layer(random(2, 5, 4))
    with pytest.raises(ValueError, match=r"\[batch, time, width\].*got \[2, 8\]"):
        layer(random(2, 8))
    with pytest.raises(ValueError, match=r"boolean mask \[2, 5\].*got \[2, 4\]"):
        layer(random(2, 5, 8), torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"boolean mask.*of torch.float32"):
        layer(random(2, 5, 8), torch.ones(2, 5))
    with pytest.raises(ValueError, match=r"at most 80 positions.*got 81"):
        layer(random(1, 81, 8))


@pytest.mark.unchecked
@pytest.mark.parametrize("name", list(attention.methods))
def test_wrong_arguments_are_refused(name):
    with pytest.raises(ValueError, match="divisible by 3 heads, got 8"):
        attention.create(name, width=8, heads=3, max_length=10)
    with pytest.raises(ValueError, match="width must be a positive integer"):
        attention.create(name, width=0, max_length=10)
    with pytest.raises(ValueError, match=f"attention '{name}'.*colour"):
        attention.create(name, width=8, max_length=10, colour="red")


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linformer", {"causal": True, "max_length": 10}, "cannot be causal"),
        ("strided", {}, "StridedAttention needs max_length"),
        ("bigbird", {}, "needs max_length"),
        ("linformer", {}, "needs max_length"),
        ("reformer", {}, "needs max_length"),
        ("sinkhorn", {}, "needs max_length"),
        ("synthesizer", {}, "needs max_length"),
        ("full", {"max_length": 0}, "max_length must be a positive integer, got 0"),
        ("local", {"radius": 0}, "radius must be"),
        ("strided", {"stride": -1}, "stride must be"),
        ("longformer", {"global_tokens": 0}, "global_tokens must be"),
        ("bigbird", {"max_length": 10, "random_blocks": 1.5}, "random_blocks must be"),
        ("linformer", {"max_length": 10, "rank": 0}, "rank must be"),
        ("performer", {"features": 0}, "features must be"),
        ("reformer", {"buckets": (3,)}, r"even numbers.*\(3,\)"),
        ("reformer", {"buckets": (2,), "rounds": 0}, "rounds must be"),
        ("sinkhorn", {"max_length": 10, "temperature": 0.0}, "temperature must be above 0"),
        ("synthesizer", {"max_length": 10, "kind": "sparse"}, "'factorized_random' or 'dense', got 'sparse'"),
        ("synthesizer", {"max_length": 10, "rank": 0}, "rank must be"),
    ],
)
def test_wrong_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        attention.create(name, width=8, **options)


@pytest.mark.unchecked
def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown attention 'perfomer'; did you mean performer"):
        attention.create("perfomer", width=8)
