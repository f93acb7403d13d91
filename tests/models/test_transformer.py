import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from remanence import nn
from remanence.models import Transformer
from remanence.models.mixer import MemoryMixer
from remanence.models.transformer import make_sinusoidal_positions
from remanence.nn import attention

SMALL = {"layers": 2, "width": 8, "heads": 2, "mlp": 12, "max_length": 30}
OPTIONS = {"reformer": {"chunk": 4}, "bigbird": {"block": 4}, "sinkhorn": {"block": 4}, "local": {"radius": 3}}
WAYS = [
    (mixer, causal)
    for mixer in [*attention.methods, *nn.layers]
    for causal in (False, True)
    if not (mixer == "linformer" and causal)
]


def build(mixer, **options) -> Any:
    """A model, whose parts pyright does not know."""
    torch.manual_seed(0)
    options = {"vocabulary_size": 7, "mixer_options": OPTIONS.get(mixer), **SMALL, **options}
    return Transformer(3, mixer=mixer, **options).double().eval()


def tokens(*shape):
    return torch.randint(7, shape)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(("mixer", "causal"), WAYS)
def test_a_padded_sequence_gives_the_result_of_the_unpadded_one(mixer, causal):
    model = build(mixer, causal=causal, pooling="none")
    x, lengths = tokens(3, 13), [13, 6, 1]
    mask = torch.arange(13) < torch.tensor(lengths)[:, None]
    y = model(x, mask)
    for sample, length in enumerate(lengths):
        torch.testing.assert_close(y[sample, :length], model(x[sample : sample + 1, :length])[0])
    torch.testing.assert_close(model(torch.where(mask, x, 6 - x), mask)[mask], y[mask], rtol=0, atol=0)


@pytest.mark.parametrize(("mixer", "causal"), WAYS)
def test_only_a_causal_model_cannot_see_the_future(mixer, causal):
    model = build(mixer, causal=causal, pooling="none", positions="none")
    x = tokens(1, 13)
    other = torch.cat([x[:, :7], (x[:, 7:] + 1) % 7], 1)
    difference = (model(other) - model(x)).abs().amax(-1)[0]
    if causal:
        torch.testing.assert_close(model(other)[:, :7], model(x)[:, :7])
    else:
        assert difference[:7].max() > 1e-9
    assert difference[7:].max() > 1e-9


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("mixer", ["full", "gru"])
def test_pooling_obeys_the_mask(mixer, pooling):
    model = build(mixer, pooling=pooling)
    x, mask = tokens(2, 9), torch.arange(9) < torch.tensor([[9], [4]])
    y = model(x, mask)
    torch.testing.assert_close(y[1:], model(x[1:, :4]))
    torch.testing.assert_close(y[:1], model(x[:1]))
    assert torch.isfinite(model(x, torch.zeros(2, 9, dtype=torch.bool))).all()


def test_pooling_of_the_outputs_of_the_positions():
    x = tokens(2, 9)
    every = build("full", pooling="none")
    for pooling, expected in (("mean", every(x).mean(1)), ("last", every(x)[:, -1])):
        model = build("full", pooling=pooling)
        model.load_state_dict(every.state_dict())
        torch.testing.assert_close(model(x), expected)  # the readout is linear


def test_a_block_by_hand():
    model = build("full", layers=1, pooling="none", positions="none", input_size=5, vocabulary_size=None)
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    h = x @ model.encoder[0].weight.T + model.encoder[0].bias
    block = model.blocks[0]
    h = h + block.mixer(torch.layer_norm(h, (8,), block.mixer_norm.weight, block.mixer_norm.bias))
    first, second = block.mlp[0], block.mlp[3]
    z = torch.layer_norm(h, (8,), block.mlp_norm.weight, block.mlp_norm.bias) @ first.weight.T + first.bias
    z = 0.5 * z * (1 + torch.erf(z / math.sqrt(2)))
    h = h + z @ second.weight.T + second.bias
    h = torch.layer_norm(h, (8,), model.norm.weight, model.norm.bias)
    torch.testing.assert_close(model(x), h @ model.readout[0].weight.T + model.readout[0].bias)


def test_a_memory_reads_both_ways_within_each_length():
    mixer = MemoryMixer("gru", 6, causal=False).double()
    x, mask = torch.randn(2, 5, 6, dtype=torch.float64), torch.arange(5) < torch.tensor([[5], [3]])
    y = mixer(x, mask)
    forwards, backwards = mixer.memories
    for sample, length in ((0, 5), (1, 3)):
        own = x[sample : sample + 1, :length]
        both = torch.cat([forwards(own)[0], backwards(own.flip(1))[0].flip(1)], -1)
        torch.testing.assert_close(y[sample, :length], mixer.project_out(both)[0])


@pytest.mark.parametrize("causal", [False, True])
def test_nothing_passes_from_one_episode_to_another(causal):
    model = build("gru", causal=causal, pooling="none", positions="none", layers=2)
    x, mask = tokens(2, 9), torch.arange(9) < torch.tensor([[9], [6]])
    reset = torch.zeros(2, 9, dtype=torch.bool)
    reset[0, [0, 4, 5]] = reset[1, [2, 3]] = True
    y = model(x, mask, reset)
    for row, bounds in enumerate([(0, 4, 5, 9), (0, 2, 3, 6)]):
        for start, end in pairwise(bounds):
            torch.testing.assert_close(y[row, start:end], model(x[row : row + 1, start:end])[0])
    assert not torch.allclose(y[:, 1:6], model(x, mask)[:, 1:6])


def test_resets_that_a_model_cannot_obey_are_refused():
    x, reset = tokens(2, 9), torch.zeros(2, 9, dtype=torch.bool)
    with pytest.raises(ValueError, match="attention has no state that could be reset: with reset use a memory"):
        build("full", pooling="none")(x, reset=reset)
    with pytest.raises(ValueError, match="the CLS token sees all episodes"):
        build("gru", pooling="cls")(x, reset=reset)


def test_sizes_of_memories():
    assert [memory.hidden_size for memory in MemoryMixer("gru", 8, causal=True).memories] == [8]
    assert [memory.hidden_size for memory in MemoryMixer("gru", 8, causal=False).memories] == [4, 4]
    options = {"hidden_size": 5, "decay": 0.5}
    (memory,) = build("fast_weights", causal=True, pooling="last", mixer_options=options).blocks[0].mixer.memories
    assert (memory.hidden_size, memory.decay) == (5, 0.5)


def test_positions():
    table = make_sinusoidal_positions(50, 6)
    for t in (0, 1, 49):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            assert table[t, 2 * i] == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[t, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-5)
    assert make_sinusoidal_positions(4, 5).shape == (4, 5)
    same = torch.ones(1, 6, dtype=torch.long)
    for positions in ("learned", "sinusoidal", "none"):
        y = build("full", positions=positions, pooling="none")(same)[0]
        assert torch.allclose(y[0], y[1:]) == (positions == "none")
    assert "positions" not in build("full", positions="sinusoidal").state_dict()


def test_dropout_acts_in_training_alone():
    model, x = build("full", dropout=0.5), tokens(2, 9)
    torch.testing.assert_close(model(x), model(x), rtol=0, atol=0)
    model.train()
    assert not torch.allclose(model(x), model(x))


def test_pairs_are_read_one_by_one():
    model, x = build("full", pairs=True), tokens(4, 2, 9)
    mask = torch.arange(9) < torch.randint(1, 10, (4, 2, 1))
    y = model(x, mask)
    assert y.shape == (4, 3)
    single = build("full")
    single.readout = torch.nn.Identity()
    single.load_state_dict(model.state_dict(), strict=False)
    both = torch.cat([single(x[:, 0], mask[:, 0]), single(x[:, 1], mask[:, 1])], 1)
    torch.testing.assert_close(y, model.readout(both))


def attention_block(width, mlp):
    return 4 * width + 4 * width**2 + (width * mlp + mlp) + (mlp * width + width)


@pytest.mark.parametrize(
    ("task", "inputs", "target_size", "expected"),
    [
        ("listops", {"vocabulary_size": 18}, 10,
         18 * 512 + 512 + 4 * attention_block(512, 1024) + 2 * 512 + (512 * 1024 + 1024) + (1024 * 10 + 10)),
        ("text", {"vocabulary_size": 257}, 2,
         257 * 256 + 256 + 4 * attention_block(256, 1024) + 2 * 256 + (256 * 1024 + 1024) + (1024 * 2 + 2)),
        ("aan", {"vocabulary_size": 257}, 2,
         257 * 128 + 128 + 4 * attention_block(128, 512) + 2 * 128
         + (256 * 512 + 512) + (512 * 256 + 256) + (256 * 2 + 2)),
        ("image", {"input_size": 1}, 10,
         (32 + 32) + 32 + 1025 * 32 + attention_block(32, 64) + 2 * 32 + (32 * 64 + 64) + (64 * 10 + 10)),
        ("pathfinder", {"vocabulary_size": 256}, 2,
         256 * 32 + attention_block(32, 32) + 2 * 32 + (32 * 32 + 32) + (32 * 2 + 2)),
    ],
)  # fmt: skip
def test_parameters_of_the_long_range_arena_counted_by_hand(task, inputs, target_size, expected):
    assert count(Transformer.lra(task, target_size, **inputs)) == expected


@pytest.mark.parametrize(
    ("mixer", "expected"),
    [
        ("full", 4 * 64),
        ("local", 4 * 64),
        ("strided", 4 * 64),
        ("longformer", 4 * 64),
        ("bigbird", 4 * 64),
        ("linear", 4 * 64),
        ("performer", 4 * 64),
        ("linformer", 4 * 64 + 128 * 31),
        ("reformer", 3 * 64),
        ("sinkhorn", 4 * 64 + (4 + 1) * 8),
        ("synthesizer", 2 * 64 + 2 * 2 * 31 * 8),
        ("gru", 2 * 3 * 4 * (8 + 4 + 2) + 8 * 8),
        ("elman", 2 * 4 * (8 + 4 + 1) + 8 * 8),
        ("lstm", 2 * 4 * 4 * (8 + 4 + 2) + 8 * 8),
    ],
)
def test_parameters_of_a_mixer_counted_by_hand(mixer, expected):
    assert count(build(mixer).blocks[0].mixer) == expected


def test_lra_takes_any_mixer_and_other_sizes():
    model = Transformer.lra("listops", 10, vocabulary_size=18, mixer="cff", layers=1, width=16, max_length=40)
    assert model(torch.zeros(2, 40, dtype=torch.long)).shape == (2, 10)
    positions = Transformer.lra("text", 2, vocabulary_size=9, max_length=4000).positions
    assert positions is not None
    assert positions.shape == (4001, 256)


def test_a_mixer_of_the_user_joins_by_its_path():
    local = build("remanence.nn.attention.local:LocalAttention", mixer_options={"radius": 2})
    assert local.blocks[0].mixer.radius == 2
    memory = build("remanence.nn.elman:Elman").blocks[0].mixer
    assert all(isinstance(part, nn.Elman) for part in memory.memories)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixer": "perfomer"}, "unknown mixer 'perfomer'; did you mean performer"),
        ({"mixer": "lsmt"}, "unknown mixer 'lsmt'; did you mean lstm"),
        ({"mixer": "no.such:Thing"}, "could be imported"),
        ({"mixer": "lstm", "mixer_options": {"decay": 1}}, "layer 'lstm'.*decay"),
        ({"mixer": "full", "mixer_options": {"decay": 1}}, "attention 'full'.*decay"),
        ({"pooling": "max"}, "pooling must be one of cls, mean, last, none, got 'max'"),
        ({"positions": "rotary"}, "positions must be one of learned, sinusoidal, none, got 'rotary'"),
        ({"causal": True}, "pooling='last' or 'mean'"),
        ({"pairs": True, "pooling": "none"}, "pairs are compared"),
        ({"heads": 3}, "divisible by 3 heads, got 8"),
        ({"layers": 0}, "layers must be a positive integer"),
        ({"input_size": 3}, "one of the two"),
        ({"max_length": 0}, "max_length must be a positive integer"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**{"mixer": "full", **options})


@pytest.mark.unchecked
def test_wrong_inputs_are_refused():
    model = build("gru")
    with pytest.raises(ValueError, match=r"1 to 30 positions \(max_length\), got 31"):
        model(tokens(2, 31))
    with pytest.raises(ValueError, match="got 0"):
        model(tokens(2, 0))
    with pytest.raises(ValueError, match=r"mask \[2, 5\].*got \[2, 4\]"):
        model(tokens(2, 5), torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="True first, then False"):
        model(tokens(1, 3), torch.tensor([[False, True, True]]))
    with pytest.raises(ValueError, match=r"\[batch, 2, time, ...\], got \[2, 5\]"):
        build("full", pairs=True)(tokens(2, 5))
    with pytest.raises(ValueError, match="has the tasks listops, text"):
        Transformer.lra("retrieval", 2)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", ["full", "linear", "gru"])
def test_it_learns_to_recall_the_first_token(mixer):
    torch.manual_seed(0)
    model = Transformer(3, vocabulary_size=3, mixer=mixer, layers=1, width=16, heads=2, max_length=12)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        x = torch.randint(3, (32, 12))
        loss = torch.nn.functional.cross_entropy(model(x), x[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.randint(3, (200, 12))
    assert (model(x).argmax(-1) == x[:, 0]).float().mean() > 0.95
