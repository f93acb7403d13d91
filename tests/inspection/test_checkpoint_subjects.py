import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from remanence.inspection import subjects_of_checkpoint

LAYERS = {
    "lstm": lambda: nn.LSTM(3, 5, 2, batch_first=True),
    "projected": lambda: nn.LSTM(3, 5, proj_size=2, batch_first=True),
    "gru": lambda: nn.GRU(3, 5, batch_first=True),
    "no bias": lambda: nn.GRU(3, 5, bias=False, batch_first=True),
    "rnn": lambda: nn.RNN(3, 5, batch_first=True),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", ["safetensors", "torch", "nested"])
def test_a_layer_is_rebuilt(name, kind, tmp_path):
    layer = LAYERS[name]()
    model = nn.ModuleDict({"encoder": layer, "head": nn.Linear(5, 2)})
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    if kind == "safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save({"state_dict": model.state_dict(), "epoch": 3} if kind == "nested" else model.state_dict(), path)
    (subject,) = subjects_of_checkpoint(path)
    x = torch.randn(2, 7, 3).double()
    torch.testing.assert_close(subject.module(x)[0], layer.double()(x)[0])
    assert subject.name == f"{path.name} encoder"
    assert "white noise" in subject.about


def test_of_a_layer_that_reads_both_ways_the_one_that_reads_forwards(tmp_path):
    layer = nn.GRU(3, 5, 2, bidirectional=True, batch_first=True)
    torch.save(layer.state_dict(), tmp_path / "gru.pt")
    (subject,) = subjects_of_checkpoint(tmp_path / "gru.pt")
    first = nn.GRU(3, 5, batch_first=True).double()
    first.load_state_dict({name: layer.state_dict()[name] for name in first.state_dict()})
    x = torch.randn(2, 7, 3).double()
    torch.testing.assert_close(subject.module(x)[0], first(x)[0])
    assert "forwards" in subject.about


def test_every_layer_of_a_checkpoint(tmp_path):
    torch.save(nn.ModuleDict({"a": nn.GRU(3, 5), "b": nn.LSTM(5, 4)}).state_dict(), tmp_path / "both.pt")
    found = subjects_of_checkpoint(tmp_path / "both.pt")
    assert [subject.name for subject in found] == ["both.pt a", "both.pt b"]
    assert [type(subject.module) for subject in found] == [nn.GRU, nn.LSTM]


def written(path, content):
    path.write_bytes(content)


WRONG = {
    "damaged.pt": (lambda path: written(path, b"PK\x03\x04 no more"), "it is damaged, or of another kind"),
    "damaged.safetensors": (lambda path: written(path, b"\x10"), "is not a safetensors file, or is damaged"),
    "pickle.pt": (lambda path: torch.save(nn.GRU(3, 5), path), "holds other Python objects, which are not loaded"),
    "plain.pt": (lambda path: written(path, pickle.dumps({"a": 1})), "no named tensors|damaged"),
    "list.pt": (lambda path: torch.save([torch.zeros(3)], path), "holds no named tensors"),
    "linear.pt": (lambda path: torch.save(nn.Linear(3, 5).state_dict(), path), "holds no nn.LSTM, nn.GRU or nn.RNN"),
    "odd.pt": (
        lambda path: torch.save({"weight_ih_l0": torch.zeros(10, 3), "weight_hh_l0": torch.zeros(10, 5)}, path),
        "10 rows for 5 units",
    ),
    "part.pt": (lambda path: torch.save({"weight_ih_l0": torch.zeros(10, 3)}, path), "do not fit together"),
    "missing.pt": (lambda path: None, "does not exist"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refusals(name, tmp_path):
    make, message = WRONG[name]
    make(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        subjects_of_checkpoint(tmp_path / name)
