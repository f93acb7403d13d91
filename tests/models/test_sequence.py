import pytest
import torch

from remanence import nn
from remanence.models import SequenceModel


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_the_published_network_counted_by_hand():
    model = SequenceModel(nn.create("lstm", input_size=100, hidden_size=20), 10, vocabulary_size=37)
    embedding = 37 * 50 + (50 * 100 + 100)
    lstm = 4 * 20 * (100 + 20 + 2)
    readout = (20 * 100 + 100) + (100 * 10 + 10)
    assert count(model) == embedding + lstm + readout


def test_signals_and_no_hidden_layers():
    model = SequenceModel(nn.create("elman", input_size=3, hidden_size=4), 2, input_size=3, embedding=(), readout=())
    assert count(model) == 4 * (3 + 4 + 1) + 4 * 2 + 2
    x = torch.randn(5, 6, 3)
    expected = model.readout[0](model.memory(x)[0][:, -1])
    torch.testing.assert_close(model(x), expected)
    deep = SequenceModel(nn.create("elman", input_size=8, hidden_size=4), 2, input_size=3, embedding=(5, 8))
    assert deep(x).shape == (5, 2)


def test_wrong_combinations_are_refused():
    memory = nn.create("elman", input_size=3, hidden_size=4)
    with pytest.raises(ValueError, match="one of the two"):
        SequenceModel(memory, 2)
    with pytest.raises(ValueError, match="tokens need an embedding"):
        SequenceModel(memory, 2, vocabulary_size=5, embedding=())
    with pytest.raises(ValueError, match="the 100 channels of the encoder, it takes 3"):
        SequenceModel(memory, 2, vocabulary_size=5)


def test_padded_sequences_give_what_they_give_unpadded():
    model = SequenceModel(nn.create("gru", input_size=8, hidden_size=4), 3, vocabulary_size=9, embedding=(8,))
    x = torch.randint(9, (2, 7))
    mask = torch.arange(7) < torch.tensor([[7], [3]])
    torch.testing.assert_close(model(x, mask)[1:], model(x[1:, :3]))
    torch.testing.assert_close(model(x, mask)[:1], model(x[:1]))


def test_an_output_for_each_position():
    model = SequenceModel(nn.create("gru", input_size=8, hidden_size=4), 3, input_size=8, embedding=(), pooling="none")
    x = torch.randn(2, 7, 8)
    assert model(x).shape == (2, 7, 3)
    torch.testing.assert_close(model(x)[:, :4], model(x[:, :4]))


def test_pairs_are_read_each_by_itself():
    model = SequenceModel(
        nn.create("gru", input_size=8, hidden_size=4), 3, vocabulary_size=9, embedding=(8,), pairs=True
    )
    x = torch.randint(9, (5, 2, 7))
    mask = torch.arange(7) < torch.randint(1, 8, (5, 2, 1))
    ends = [
        model.memory(model.encoder(x[i, side, : mask[i, side].sum()][None]))[0][:, -1]
        for i in range(5)
        for side in range(2)
    ]
    torch.testing.assert_close(model(x, mask), model.readout(torch.cat(ends).view(5, 8)))
    with pytest.raises(ValueError, match="last for pairs"):
        SequenceModel(model.memory, 3, vocabulary_size=9, embedding=(8,), pairs=True, pooling="none")


def test_timespans_reach_the_memory():
    model = SequenceModel(nn.create("cfc", input_size=8, hidden_size=4), 3, input_size=8, embedding=())
    x, timespans = torch.randn(2, 7, 8), torch.rand(2, 7)
    expected = model.readout(model.memory(x, timespans=timespans)[0][:, -1])
    torch.testing.assert_close(model(x, timespans=timespans), expected)
    assert not torch.allclose(model(x), expected)


def test_resets_reach_the_memory():
    model = SequenceModel(nn.create("gru", input_size=8, hidden_size=4), 3, input_size=8, embedding=(), pooling="none")
    x, reset = torch.randn(2, 7, 8), torch.arange(7) == torch.tensor([[3], [5]])
    y = model(x, reset=reset)
    for row, start in enumerate((3, 5)):
        own = x[row : row + 1]
        expected = torch.cat([model(own[:, :start]), model(own[:, start:])], 1)[0]
        torch.testing.assert_close(y[row], expected)
    pairs = SequenceModel(nn.create("gru", input_size=8, hidden_size=4), 3, input_size=8, embedding=(), pairs=True)
    both, resets = torch.stack([x, x.flip(0)], 1), torch.stack([reset, reset.flip(0)], 1)
    halves = [pairs.memory(both[:, half], reset=resets[:, half])[0][:, -1] for half in range(2)]
    torch.testing.assert_close(pairs(both, reset=resets), pairs.readout(torch.cat(halves, -1)))
