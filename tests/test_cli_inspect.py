import json
import sys

import pytest
import torch
from torch import nn

from remanence.cli.app import main
from remanence.inspection import card


@pytest.fixture
def inspect(monkeypatch, capsys, tmp_path):
    """Run ``remanence inspect`` in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(card, "LINES", card.LINES[:1])  # what the others find has tests of its own

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["remanence", "inspect", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert (end.value.code or 0) == code
        return capsys.readouterr()

    return run


@pytest.fixture
def checkpoint(tmp_path):
    torch.save(nn.LSTM(3, 4).state_dict(), tmp_path / "lstm.pt")


def test_a_checkpoint(inspect, checkpoint, tmp_path):
    done = inspect("lstm.pt", "--output", "pages")
    assert "LSTM of 4 units found in lstm.pt" in done.out.replace("\n", " ")
    page = (tmp_path / "pages/inspection.html").read_text()
    assert "remanence inspect lstm.pt --output pages" in page


def test_json_of_two(inspect, checkpoint):
    rows = json.loads(inspect("lstm.pt", "lstm.pt", "--json").out)
    assert [row["state_size"] for row in rows] == [8, 8]
    assert rows[0]["findings"]["gradient"]["horizon"] > 0


def test_a_module_in_the_current_folder(inspect, tmp_path):
    source = "from torch import nn\nclass Mine(nn.GRU):\n    def __init__(self, size=3): super().__init__(size, 5)"
    (tmp_path / "mine_at_hand.py").write_text(source)
    rows = json.loads(inspect("--module", "mine_at_hand:Mine", "--set", "module.options.size=2", "--json").out)
    assert (rows[0]["input_size"], rows[0]["state_size"]) == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to inspect"),
        (("nowhere",), "nowhere does not exist: give a run folder or a checkpoint file"),
        (("empty",), "no run in empty"),
        (("lstm.pt", "--set", "module.options.a=1"), "--set requires --module, whose class it configures"),
        (("--module", "nowhere_at_all:Class"), "could be imported from"),
        (("--module", "torch.nn:Identity", "--set", "layer.options.a=1"), "layer.options.a is neither module.options"),
    ],
)
def test_mistakes_are_one_line(inspect, checkpoint, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    error = inspect(*arguments, code=2).err
    assert message in error
    assert error.startswith("Error:")
    assert error.count("\n") == 1
