from typing import Any

import pytest
import torch

from remanence.inspection import subject_of_module

SOURCE = """
import torch
from torch import nn


class Good(nn.Module):
    def __init__(self, hidden_size=4):
        super().__init__()
        self.input_size = 3
        self.gru = nn.GRU(3, hidden_size, batch_first=True)

    def forward(self, x, state=None):
        return self.gru(x, state)


class Silent(Good):
    def __init__(self):
        super().__init__()
        del self.input_size


class Stateless(Good):
    def forward(self, x, state=None):
        return self.gru(x, state)[0]


class Needs(Good):
    def __init__(self, width):
        super().__init__(width)


class Forgets(Good):
    def forward(self, x, state=None):
        return self.gru(x)[0], torch.zeros(4)


def function():
    return 3
"""


@pytest.fixture(autouse=True)
def users_module(tmp_path, monkeypatch):
    (tmp_path / "users_memories.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)


def test_options_and_weights(tmp_path):
    first = subject_of_module("users_memories:Good", options={"hidden_size": 7})
    assert first.step.size == 7
    theirs: Any = first.module.module
    torch.save(theirs.state_dict(), tmp_path / "good.pt")
    second = subject_of_module("users_memories:Good", tmp_path / "good.pt", options={"hidden_size": 7})
    ours: Any = second.module.module
    assert torch.equal(theirs.gru.weight_hh_l0, ours.gru.weight_hh_l0)
    x, h = torch.randn(2, 3).double(), torch.randn(2, 7).double()
    assert torch.equal(second.step(x, h), ours.gru(x[:, None], h[None])[1][0])
    assert second.name == "Good good.pt"


def test_the_size_of_the_input_can_be_told():
    assert subject_of_module("users_memories:Silent", input_size=3).x.shape[2] == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users_memories", "takes package.module:Class"),
        ("nowhere_at_all:Class", "could be imported from"),
        ("users_memories:Missing", "could be imported from"),
        ("users_memories:Needs", "--set module.options.NAME=VALUE"),
        ("users_memories:function", "makes a int, not a torch.nn.Module"),
        ("users_memories:Silent", "--set module.input_size=CHANNELS"),
        ("users_memories:Forgets", "does not grow with the batch"),
        ("users_memories:Stateless", r"does not satisfy the contract forward\(x, state\) -> \(y, state\)"),
    ],
)
def test_refusals(name, message):
    with pytest.raises(ValueError, match=message):
        subject_of_module(name)


def test_weights_of_another_module(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(ValueError, match=r"linear.pt does not fit users_memories:Good"):
        subject_of_module("users_memories:Good", tmp_path / "linear.pt")
