import numpy as np
import pytest
import torch

from remanence import tasks
from remanence.data import imdb_source, load, prepare

REVIEWS = 6


def review(split, label, number):
    return f"{split} {label} {number} é".encode() * (number + 1)


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(imdb_source, "REVIEWS", REVIEWS)


@pytest.fixture
def files():
    """In the order of an archive, which is not that of the numbers."""
    content = {"aclImdb/README": b"readme", "aclImdb/train/unsup/0_0.txt": b"not labelled"}
    for split in ("test", "train"):
        for label in ("pos", "neg"):
            for number in (3, 0, 5, 1, 4, 2):
                content[f"aclImdb/{split}/{label}/{number}_{number + 1}.txt"] = review(split, label, number)
    return content


def test_bytes_and_labels_counted_by_hand(files, make_tar):
    prepare(imdb_source.IMDB, make_tar(files))
    task = tasks.Text()
    parts = {split: task.dataset(split) for split in tasks.SPLITS}
    assert [len(part) for part in parts.values()] == [12, 12, 12]
    assert task.vocabulary is not None
    assert len(task.vocabulary) == 257
    for split in ("train", "test"):
        for row, (tokens, label) in enumerate([*parts[split]]):
            expected = review(split, ("neg", "pos")[label], row % REVIEWS)
            assert bytes((tokens - 1).tolist()) == expected
            assert int(label) == row // REVIEWS
    for (a, _), (b, _) in zip([*parts["validation"]], [*parts["test"]], strict=True):
        assert torch.equal(a, b)


def test_padding_and_length(files, make_tar):
    prepare(imdb_source.IMDB, make_tar(files))
    batch = tasks.create("text", length=30).dataset("train").batch([0, 5])
    assert batch.inputs.shape == (2, 30)
    short = len(review("train", "neg", 0))
    assert batch.mask is not None
    assert batch.mask.sum(1).tolist() == [short, 30]
    assert not batch.inputs[0, short:].any()
    assert batch.inputs[0, 0] == ord("t") + 1


def test_reviews_held_out_for_validation(files, make_tar):
    prepare(imdb_source.IMDB, make_tar(files))
    task = tasks.Text(held_out=4)
    train, validation = task.dataset("train"), task.dataset("validation")
    assert (len(train), len(validation), len(task.dataset("test"))) == (8, 4, 12)
    assert validation.targets.tolist() == [0, 0, 1, 1]
    texts = [tuple(tokens.tolist()) for part in (train, validation) for tokens, _ in part]
    everything = tasks.create("text").dataset("train")
    assert sorted(texts) == sorted(tuple(tokens.tolist()) for tokens, _ in everything)
    again = tasks.Text(held_out=4, seed=1).dataset("validation")
    assert again.lengths.tolist() != validation.lengths.tolist()


def test_missing_reviews_are_counted(files, make_tar):
    del files["aclImdb/test/neg/4_5.txt"]
    with pytest.raises(
        ValueError, match=r"lacks reviews in test/neg: 5 instead of 6; for the IMDb reviews .* aclImdb_v1"
    ):
        prepare(imdb_source.IMDB, make_tar(files))
    files["aclImdb/test/neg/4_5.txt"] = files["aclImdb/test/neg/9_5.txt"] = b"x"
    with pytest.raises(ValueError, match="has too many reviews in test/neg: 7 instead of 6"):
        prepare(imdb_source.IMDB, make_tar(files))
    assert load("imdb") is None


@pytest.mark.parametrize("options", [{"length": 0}, {"held_out": -1}, {"held_out": 25_000}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("text", **options)


def test_examples(files, make_tar):
    prepare(imdb_source.IMDB, make_tar(files))
    examples = tasks.create("text").examples(3)
    assert len(examples) == 3
    assert np.all([" -> " in text and "bytes)" in text for text in examples])
