import ncps.torch
import ncps.wirings
import pytest
import torch
from torch import nn

from remanence import nn as memories
from remanence.analysis import as_step


class Users(nn.Module):
    """A layer as anyone might write it; its state is a dictionary."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x, state=None):
        h = x.new_zeros(len(x), 4) if state is None else state["h"]
        ys = []
        for x_t in x.unbind(1):
            h = self.cell(x_t, h)
            ys.append(h)
        return torch.stack(ys, 1), {"h": h, "sum": sum(ys)}


LAYERS = {
    "rnn": lambda: nn.RNN(3, 4, num_layers=2),
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2, batch_first=True),
    "projected": lambda: nn.LSTM(3, 4, proj_size=2, batch_first=True),
    "gru": lambda: nn.GRU(3, 4, batch_first=True),
    "user": Users,
    "ncps ltc": lambda: ncps.torch.LTC(3, ncps.wirings.AutoNCP(8, 2)),
    "ncps cfc": lambda: ncps.torch.CfC(3, 4, mixed_memory=True),
    "ncps wired": lambda: ncps.torch.CfC(3, ncps.wirings.AutoNCP(8, 2)),
    "ncps last": lambda: ncps.torch.CfC(3, 4, return_sequences=False),
} | {name: lambda name=name: memories.create(name, input_size=3, hidden_size=4) for name in memories.layers}
CELLS = {
    "rnn": (lambda: nn.RNNCell(3, 4), 4),
    "lstm": (lambda: nn.LSTMCell(3, 4), 8),
    "gru": (lambda: nn.GRUCell(3, 4), 4),
    "ncps ltc": (lambda: ncps.torch.LTCCell(ncps.wirings.FullyConnected(5, 2), 3), 5),
    "ncps cfc": (lambda: ncps.torch.CfCCell(3, 4), 4),
    "ncps wired": (lambda: ncps.torch.WiredCfCCell(3, ncps.wirings.AutoNCP(8, 2)), 8),
}


@pytest.mark.parametrize("name", LAYERS)
def test_steps_of_a_layer_give_what_the_layer_gives(name):
    layer = LAYERS[name]().eval()
    step = as_step(layer, input_size=3)
    x = torch.randn(2, 5, 3)
    y, states = step.run(x)
    whole, _ = layer(x if getattr(layer, "batch_first", True) else x.transpose(0, 1))
    whole = whole if getattr(layer, "batch_first", True) else whole.transpose(0, 1)
    last = y[:, -1] if name == "ncps last" else y
    torch.testing.assert_close(last, whole, atol=1e-5, rtol=1e-4)
    assert states.shape == (2, 6, step.size)


@pytest.mark.parametrize("name", CELLS)
def test_cells(name):
    make, size = CELLS[name]
    step = as_step(make())
    y, states = step.run(torch.randn(2, 5, 3))
    assert states.shape == (2, 6, size)
    assert y.isfinite().all()


@pytest.mark.parametrize("name", ["rnn", "lstm", "user", "ncps ltc", "fast_weights", "cff", "persistent"])
def test_jacobian_is_that_of_central_differences(name):
    step = as_step(LAYERS[name]().double().eval(), input_size=3)
    x, h = torch.randn(3, 3).double(), 0.1 * torch.randn(3, step.size).double()
    found = step.jacobian(x, h)
    shift = 1e-6 * torch.eye(step.size).double()
    with torch.no_grad():
        expected = torch.stack([(step(x, h + d) - step(x, h - d)) / 2e-6 for d in shift], -1)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


def test_jacobians_of_many_rows_are_taken_in_parts(monkeypatch):
    step = as_step(nn.GRU(3, 4))
    x, h = torch.randn(7, 3), torch.randn(7, 4)
    whole = step.jacobian(x, h)
    monkeypatch.setattr("remanence.analysis.step.COPIED", 40)
    torch.testing.assert_close(step.jacobian(x, h), whole)


def test_a_state_survives_being_flat():
    step = as_step(nn.LSTM(3, 4, num_layers=2))
    h, c = state = torch.randn(5, 2, 4), torch.randn(5, 2, 4)
    again = step.unflatten(step.flatten(state))
    assert torch.equal(again[0], h)
    assert torch.equal(again[1], c)


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match="both ways"):
        as_step(nn.LSTM(3, 4, bidirectional=True))
    with pytest.raises(ValueError, match=r"\.eval\(\)"):
        as_step(nn.LSTM(3, 4, num_layers=2, dropout=0.5))
    as_step(nn.LSTM(3, 4, num_layers=2, dropout=0.5).eval())
    with pytest.raises(ValueError, match="pass input_size"):
        as_step(Users())
    with pytest.raises(ValueError, match="needs state"):
        as_step(lambda x, h: h)
    with pytest.raises(ValueError, match="floating-point"):
        as_step(lambda x, h: h, state=torch.tensor([[1]]))
    with pytest.raises(ValueError, match=r"\[batch, time, 3\].*\[2, 3\]"):
        as_step(nn.GRU(3, 4)).run(torch.randn(2, 3))
