import numpy as np
import pytest
import torch
from scipy import stats

from remanence import tasks


@pytest.mark.parametrize(("vocabulary_size", "length"), [(16, 256), (3, 3), (5, 12)])
def test_the_token_behind_the_first_special_one_is_asked(vocabulary_size, length):
    task = tasks.create("induction", vocabulary_size=vocabulary_size, length=length, train=100)
    assert task.vocabulary is not None
    assert len(task.vocabulary) == vocabulary_size
    for tokens, target in task.dataset("train"):
        words = [task.vocabulary[token] for token in tokens]
        first = words.index("*")
        assert len(words) == length
        assert [place for place, word in enumerate(words) if word == "*"] == [first, length - 1]
        assert words[first + 1] == task.vocabulary[target] != "*"


def test_places_and_tokens_are_uniform_so_chance_is_a_guess():
    task = tasks.create("induction", vocabulary_size=6, length=10)
    batch = task.dataset("train").batch(range(8000))
    first = (batch.inputs == 5).int().argmax(1)
    assert stats.chisquare(np.bincount(first, minlength=8)).pvalue > 1e-3
    for part in (batch.targets, batch.inputs[batch.inputs != 5]):
        assert stats.chisquare(np.bincount(part, minlength=5)).pvalue > 1e-3
    assert float(task.measure(torch.rand(8000, 5), batch.targets)) == pytest.approx(task.chance, abs=0.02)
    assert task.chance == pytest.approx(0.8)


@pytest.mark.parametrize("options", [{"vocabulary_size": 2}, {"length": 2}, {"lengths": [2]}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("induction", **options)
