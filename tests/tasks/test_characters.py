import zipfile

import numpy as np
import pytest
import torch

from remanence import tasks
from remanence.data import load, prepare

TEXT = "Größe → ∞ 😀\n" * 200


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_pieces_join_to_the_text(file):
    task = tasks.create("characters", length=10)
    assert task.source is not None
    prepare(task.source, file)
    assert task.vocabulary is not None
    assert task.vocabulary == sorted(set(TEXT))
    assert task.target_size == len(set(TEXT))
    ends = [0, int(0.9 * len(TEXT)), int(0.95 * len(TEXT)), len(TEXT)]
    for split, start, end in zip(tasks.SPLITS, ends, ends[1:], strict=False):
        samples = task.dataset(split)
        pieces = ["".join(task.vocabulary[t] for t in x) for x, _ in samples]
        shifted = ["".join(task.vocabulary[t] for t in y) for _, y in samples]
        assert "".join(pieces) == TEXT[start:end][: 10 * len(samples)]
        assert "".join(shifted) == TEXT[start + 1 : end][: 10 * len(samples)]
        assert len(samples) == (end - start - 1) // 10


def test_bits_and_chance(file):
    task = tasks.create("characters", length=10)
    assert task.source is not None
    prepare(task.source, file)
    size = task.target_size
    target = torch.randint(size, (3, 10))
    assert task.measure(torch.zeros(3, 10, size), target) == pytest.approx(np.log2(size))
    assert task.loss(torch.zeros(3, 10, size), target) == pytest.approx(np.log(size))
    counts = np.unique(list(TEXT), return_counts=True)[1] / len(TEXT)
    assert task.chance == pytest.approx(-(counts * np.log2(counts)).sum(), abs=0.02)


def test_large_vocabularies_archives_and_several_texts(tmp_path):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 3000))) * 2
    with zipfile.ZipFile(tmp_path / "book.zip", "w") as archive:
        archive.writestr("book.txt", text)
    task = tasks.Characters(name="han", length=5)
    assert task.source is not None
    prepare(task.source, tmp_path / "book.zip")
    assert task.vocabulary is not None
    assert len(task.vocabulary) == 3000
    assert task._store["tokens"].dtype == np.uint16
    with pytest.raises(ValueError, match="characters needs a text called 'text'"):
        tasks.create("characters").dataset("train")


def test_a_character_may_lie_across_two_pieces_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("remanence.data.text_source.CHUNK", 3)
    (tmp_path / "book.txt").write_text(TEXT, encoding="utf-8")
    task = tasks.Characters(length=10)
    assert task.source is not None
    prepare(task.source, tmp_path / "book.txt")
    assert task.vocabulary is not None
    assert "".join(task.vocabulary[t] for t in task._store["tokens"]) == TEXT


@pytest.mark.parametrize("content", [b"\xff\xfe text", "é".encode()[:1], "text é".encode()[:-1], b"", b"x"])
def test_what_is_no_text_is_named(tmp_path, content):
    (tmp_path / "book.txt").write_bytes(content)
    task = tasks.create("characters")
    assert task.source is not None
    with pytest.raises(ValueError, match=r"book\.txt (holds|.*is not text in UTF-8)"):
        prepare(task.source, tmp_path / "book.txt")
    assert load("text-text") is None


def test_wrong_options_are_refused(file):
    with pytest.raises(ValueError, match="length must be at least 1"):
        tasks.create("characters", length=0)
    task = tasks.create("characters", length=1000)
    assert task.source is not None
    prepare(task.source, file)
    with pytest.raises(ValueError, match="a piece needs 1001: lower length"):
        task.dataset("test")
    with pytest.raises(ValueError, match=r"got 'text-../../elsewhere'"):
        tasks.create("characters", name="../../elsewhere").dataset("train")
