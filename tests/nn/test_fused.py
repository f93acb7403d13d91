"""Elman, LSTM and GRU against torch.nn."""

import pytest
import torch

from remanence import nn


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_elman_equals_torch_rnn(nonlinearity):
    ours = nn.Elman(3, 5, nonlinearity=nonlinearity).double()
    theirs = torch.nn.RNN(3, 5, nonlinearity=nonlinearity, batch_first=True).double()
    with torch.no_grad():
        weight_ih, weight_hh, bias_ih, bias_hh = theirs.parameters()
        ours.weight_ih.copy_(weight_ih)
        ours.weight_hh.copy_(weight_hh)
        ours.bias.copy_(bias_ih + bias_hh)
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    y, h = ours(x)
    expected, h_expected = theirs(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(h, h_expected[0])


def test_lstm_equals_torch():
    ours, theirs = nn.LSTM(3, 5), torch.nn.LSTM(3, 5, batch_first=True)
    ours.rnn.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 7, 3)
    y, (h, c) = ours(x)
    expected, (h_expected, c_expected) = theirs(x)
    torch.testing.assert_close((y, h, c), (expected, h_expected[0], c_expected[0]))


def test_gru_equals_torch():
    ours, theirs = nn.GRU(3, 5), torch.nn.GRU(3, 5, batch_first=True)
    ours.rnn.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 7, 3)
    y, h = ours(x)
    expected, h_expected = theirs(x)
    torch.testing.assert_close((y, h), (expected, h_expected[0]))


def test_irnn_starts_as_the_identity():
    layer = nn.create("irnn", input_size=3, hidden_size=5)
    assert isinstance(layer, nn.Elman)
    torch.testing.assert_close(layer.weight_hh.data, torch.eye(5))
    h = torch.rand(2, 5)
    y, _ = layer(torch.zeros(2, 100, 3), h)
    torch.testing.assert_close(y[:, -1], h, rtol=0, atol=0)


@pytest.mark.unchecked
def test_elman_refuses_an_unknown_nonlinearity():
    with pytest.raises(ValueError, match="'tanh' or 'relu', got 'sine'"):
        nn.Elman(3, 4, nonlinearity="sine")  # pyright: ignore[reportArgumentType]
