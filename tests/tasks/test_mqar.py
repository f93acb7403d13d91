from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from remanence import tasks


@pytest.mark.parametrize(("pairs", "length", "vocabulary_size"), [(1, 4, 4), (4, 64, 8192), (16, 64, 34), (3, 20, 9)])
def test_sequences_follow_the_definition(pairs, length, vocabulary_size):
    options = {"pairs": pairs, "length": length, "vocabulary_size": vocabulary_size}
    task = tasks.create("mqar", **options, train=100)
    assert task.vocabulary is not None
    assert len(task.vocabulary) == task.target_size == vocabulary_size
    for tokens, target in task.dataset("train"):
        assert len(tokens) == len(target) == length
        tokens, target = tokens.tolist(), target.tolist()
        known = dict(zip(tokens[0 : 2 * pairs : 2], tokens[1 : 2 * pairs : 2], strict=True))
        assert len(known) == len(set(known.values())) == pairs
        assert all(0 < key < vocabulary_size // 2 <= value < vocabulary_size for key, value in known.items())
        asked = {place: value for place, value in enumerate(target) if value != -100}
        assert all(place >= 2 * pairs and place % 2 == 0 for place in asked)
        assert {tokens[place]: value for place, value in asked.items()} == known
        assert len(asked) == pairs


def test_queries_come_as_by_the_published_power_law():
    target = tasks.create("mqar", pairs=2, length=32, power=0.3).dataset("train").batch(range(4000)).targets
    ours = (target != -100).sum(0)[4::2].numpy()
    p = np.arange(1, 15) ** (0.3 - 1)  # the published code's own: choice without replacement among the even gaps
    rng = np.random.default_rng(0)
    theirs = np.bincount(
        [g for _ in range(4000) for g in rng.choice(14, 2, replace=False, p=p / p.sum())], minlength=14
    )
    test: Any = stats.chi2_contingency([ours, theirs])
    assert test.pvalue > 1e-3


def test_tokens_are_drawn_uniformly():
    batch = tasks.create("mqar", vocabulary_size=40, length=32).dataset("train").batch(range(4000))
    tokens = batch.inputs
    assert np.abs(np.bincount(tokens[:, 0], minlength=40)[1:20] - 4000 / 19).max() < 75
    assert np.abs(np.bincount(tokens[:, 7], minlength=40)[20:] - 200).max() < 75
    rest = tokens[:, 8:][batch.targets[:, 8:] == -100]
    assert stats.chisquare(np.bincount(rest, minlength=40)).pvalue > 1e-3


def test_published_sizes_and_chance():
    task = tasks.create("mqar", vocabulary_size=64)
    assert [len(task.dataset(split)) for split in tasks.SPLITS] == [100_000, 3000, 3000]
    target = task.dataset("test").batch(range(3000)).targets
    guess = torch.zeros(3000, 64, 64)
    guess[..., 32:] = torch.rand(3000, 64, 32)
    assert float(task.measure(guess, target)) == pytest.approx(task.chance, abs=0.005)
    assert task.chance == pytest.approx(1 - 1 / 32)
    assert tasks.create("mqar").chance == pytest.approx(1 - 1 / 4096)


def test_examples_show_the_answers():
    task = tasks.create("mqar", pairs=2, length=16)
    words = task.examples(1)[0].split()
    assert sorted(word for word in words if "[" in word) == sorted(f"{words[i]}[{words[i + 1]}]" for i in (0, 2))


@pytest.mark.parametrize(
    "options", [{"pairs": 0}, {"length": 15}, {"length": 14}, {"vocabulary_size": 9}, {"power": 0.0}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("mqar", **options)
