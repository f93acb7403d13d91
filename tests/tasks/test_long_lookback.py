import numpy as np
import pytest
import torch
from scipy import stats

from remanence import tasks


@pytest.mark.parametrize(("pairs", "keys", "values", "length"), [(1, 1, 2, 1), (4, 16, 16, 100), (3, 5, 2, 9)])
def test_each_key_is_asked_for_once_behind_the_stretch(pairs, keys, values, length):
    task = tasks.create("long_lookback", pairs=pairs, keys=keys, values=values, length=length, train=100)
    assert task.vocabulary is not None
    assert len(task.vocabulary) == keys + values
    for tokens, target in task.dataset("train"):
        words = [task.vocabulary[token] for token in tokens]
        known = dict(zip(words[0 : 2 * pairs : 2], words[1 : 2 * pairs : 2], strict=True))
        stretch, asked = words[2 * pairs : -pairs], words[-pairs:]
        assert len(known) == pairs
        assert all(key[0] == "k" and value[0] == "v" for key, value in known.items())
        assert len(stretch) == length
        assert all(word[0] == "v" for word in stretch)
        assert sorted(asked) == sorted(known)
        assert target[:-pairs].tolist() == [-100] * (2 * pairs + length)
        assert [task.vocabulary[value] for value in target[-pairs:]] == [known[key] for key in asked]


def test_keys_values_and_order_are_uniform_so_chance_is_a_guess():
    task = tasks.create("long_lookback", pairs=2, keys=4, values=5, length=10)
    batch = task.dataset("train").batch(range(6000))
    tokens = batch.inputs
    for part in (tokens[:, 0] - 5, tokens[:, 2] - 5, tokens[:, 1], tokens[:, 4:-2].flatten()):
        assert stats.chisquare(np.bincount(part)).pvalue > 1e-3
    assert stats.binomtest(int((tokens[:, 0] == tokens[:, -1]).sum()), 6000).pvalue > 1e-3
    assert float(task.measure(torch.rand(6000, 16, 5), batch.targets)) == pytest.approx(task.chance, abs=0.02)
    assert task.chance == pytest.approx(0.8)


@pytest.mark.parametrize("options", [{"pairs": 0}, {"keys": 3}, {"values": 1}, {"length": 0}, {"lengths": [0]}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("long_lookback", **options)
