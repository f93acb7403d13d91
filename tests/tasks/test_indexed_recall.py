import numpy as np
import pytest
import torch

from remanence import tasks


def test_strings_follow_the_definition():
    task = tasks.IndexedRecall(length=4, blanks=6, train=500)
    samples = task.dataset("train")
    assert task.vocabulary is not None
    assert samples.inputs.shape == (500, 4 + 6 + 1)
    for tokens, digit in samples:
        words = [task.vocabulary[token] for token in tokens]
        assert words[4:10] == ["·"] * 6
        place = words[-1]
        assert place.startswith("#")
        assert words[int(place[1:])] == str(int(digit))


def test_published_sizes():
    task = tasks.IndexedRecall()
    assert task.vocabulary is not None
    assert len(task.vocabulary) == 10 + 1 + 10
    assert task.dataset("test").inputs.shape == (2000, 10 + 200 + 1)
    assert task.chance == pytest.approx(0.9)


def test_digits_and_places_are_drawn_uniformly_and_splits_differ():
    task = tasks.IndexedRecall()
    samples = task.dataset("train")
    for counts in (np.bincount(samples.inputs[:, 3])[:10], np.bincount(samples.inputs[:, -1] - 11)):
        assert len(counts) == 10
        assert np.abs(counts - 2000).max() < 250
    assert not torch.equal(samples.inputs[:1000], task.dataset("validation").inputs)
    assert torch.equal(samples.inputs, tasks.IndexedRecall().dataset("train").inputs)
    assert not torch.equal(samples.inputs, tasks.IndexedRecall(seed=1).dataset("train").inputs)


def test_the_commonest_digit_is_a_poor_guess():
    samples = tasks.IndexedRecall().dataset("train")
    counts = torch.nn.functional.one_hot(samples.inputs[:, :10], 10).sum(1)
    assert 0.7 < float((counts.argmax(1) != samples.targets).float().mean()) < 0.8


def test_examples_show_the_first_samples():
    task = tasks.create("indexed_recall", length=3)
    *digits, blanks, place, _, digit = task.examples(1)[0].split()
    assert blanks == "·x200"
    assert digits[int(place[1:])] == digit


@pytest.mark.parametrize("options", [{"length": 0}, {"blanks": -1}, {"train": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("indexed_recall", **options)
