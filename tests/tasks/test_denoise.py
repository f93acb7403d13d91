from math import log

import numpy as np
import pytest
import torch

from remanence import tasks


@pytest.mark.parametrize(("stretch", "symbols", "length"), [(1, 2, 1), (10, 8, 10), (40, 3, 4)])
def test_sequences_follow_the_definition(stretch, symbols, length):
    task = tasks.create("denoise", stretch=stretch, symbols=symbols, length=length, train=200)
    assert task.vocabulary is not None
    for tokens, target in task.dataset("train"):
        words, answers = ([task.vocabulary[token] for token in row] for row in (tokens, target))
        said = [word for word in words[:stretch] if word != "·"]
        assert len(said) == length
        assert all(word.isdigit() for word in said)
        assert words[stretch:] == [">"] + ["·"] * length
        assert answers == ["·"] * (stretch + 1) + said


def test_symbols_are_strewn_uniformly():
    tokens = tasks.create("denoise", stretch=20, length=5).dataset("train").batch(range(8000)).inputs
    held = tokens[:, :20] < 8
    assert np.abs(held.sum(0).numpy() - 2000).max() < 200
    pairs = (held[:, :1] & held[:, 1:]).float().mean(0)
    assert torch.allclose(pairs, torch.full((19,), 5 / 20 * 4 / 19), atol=0.015)
    assert np.abs(np.bincount(tokens[:, :20][held]) - 5000).max() < 400


def test_chance_is_what_the_memoryless_guess_gets():
    task = tasks.create("denoise")
    batch = task.dataset("test").batch(range(300))
    assert task.chance == pytest.approx(10 * log(8) / 111)
    logits = torch.zeros(300, 111, 9)
    logits[:, :101, 8] = 50
    logits[:, 101:, 8] = -50
    assert float(task.measure(logits, batch.targets)) == pytest.approx(task.chance, rel=1e-5)


@pytest.mark.parametrize("options", [{"stretch": 9}, {"symbols": 1}, {"length": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("denoise", **options)
