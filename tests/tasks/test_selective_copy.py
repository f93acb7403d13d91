import numpy as np
import pytest
import torch

from remanence import tasks


@pytest.mark.parametrize(("stretch", "symbols", "length"), [(1, 2, 1), (10, 14, 10), (40, 3, 4)])
def test_sequences_follow_the_definition(stretch, symbols, length):
    task = tasks.create("selective_copy", stretch=stretch, symbols=symbols, length=length, train=100)
    assert task.vocabulary is not None
    assert len(task.vocabulary) == symbols + 2
    for tokens, target in task.dataset("train"):
        words = [task.vocabulary[token] for token in tokens]
        said = [word for word in words[:stretch] if word != "·"]
        assert len(said) == length
        assert words[stretch:] == [">"] * length
        assert target[:stretch].tolist() == [-100] * stretch
        assert [task.vocabulary[token] for token in target[stretch:]] == said


def test_symbols_are_strewn_uniformly():
    tokens = tasks.create("selective_copy", stretch=20, length=5).dataset("train").batch(range(8000)).inputs[:, :20]
    held = tokens < 14
    assert np.abs(held.sum(0).numpy() - 2000).max() < 200
    assert np.abs(np.bincount(tokens[held]) - 40_000 / 14).max() < 250


def test_published_sizes_and_chance():
    task = tasks.create("selective_copy", test=100)
    batch = task.dataset("test").batch(range(100))
    assert batch.inputs.shape == (100, 4096 + 16)
    assert task.vocabulary is not None
    assert len(task.vocabulary) == 16
    guess = torch.rand(100, 4112, 14)
    assert float(task.measure(guess, batch.targets)) == pytest.approx(task.chance, abs=0.03)
    assert task.chance == pytest.approx(13 / 14)


@pytest.mark.parametrize("options", [{"stretch": 15}, {"symbols": 1}, {"length": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("selective_copy", **options)
