import pytest

from remanence import tasks
from remanence.data import aan_source, load, prepare


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The released layout, three pairs in each file; quotation marks mean nothing there."""
    monkeypatch.setattr(aan_source, "SIZES", dict.fromkeys(aan_source.SIZES, 3))
    folder = tmp_path / "tsv_data"
    folder.mkdir()
    for name in aan_source.FILES:
        lines = [
            "1.0\tP1\tP2\tb'first \"text'\tb'second'",
            "0.0\tP3\tP4\tb'" + "long" * 5000 + "'\tb'x'",
            "1\tP5\tP6\té\tb''",
        ]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_pairs_counted_by_hand(folder):
    prepare(aan_source.AAN, folder)
    task = tasks.create("aan")
    samples = task.dataset("validation")
    assert len(samples) == 3
    batch = samples.batch([0, 1, 2])
    assert batch.inputs.shape == (3, 2, 4000)
    assert batch.mask is not None
    assert batch.mask.sum(-1).tolist() == [[14, 9], [4000, 4], [2, 3]]
    assert batch.targets.tolist() == [1, 0, 1]
    assert bytes((batch.inputs[0, 0, :14] - 1).tolist()) == b"b'first \"text'"
    assert not batch.inputs[~batch.mask].any()
    assert task.vocabulary is not None
    assert len(task.vocabulary) == 257
    assert task.paired
    assert tasks.create("aan", length=10).dataset("test").batch([1]).inputs.shape == (1, 2, 10)
    assert tasks.create("aan", length=10_000).dataset("test").longest == 10_000
    assert "cites" in task.examples(1)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1.0\tP1\tP2\ta\tb\n", r"new_aan_pairs\.eval\.tsv should hold 3 pairs, it holds 1"),
        ("1.0\tP1\tP2\ta\n", r"new_aan_pairs\.eval\.tsv, line 1: expected a label"),
        ("2.0\tP1\tP2\ta\tb\n", r"new_aan_pairs\.eval\.tsv, line 1: expected a label"),
    ],
)
def test_wrong_files_are_named(folder, content, message):
    (folder / "new_aan_pairs.eval.tsv").write_text(content)
    with pytest.raises(ValueError, match=message):
        prepare(aan_source.AAN, folder)
    assert load("aan") is None


def test_wrong_lengths_are_refused():
    with pytest.raises(ValueError, match="length must be from 1"):
        tasks.create("aan", length=0)
