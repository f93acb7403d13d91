import numpy as np
import pytest
import torch
from scipy import stats

from remanence import tasks


@pytest.mark.parametrize(("kinds", "depth", "length"), [(2, 3, 4), (8, 3, 84), (3, 1, 20), (2, 5, 60)])
def test_brackets_are_nested_and_the_one_to_close_is_asked(kinds, depth, length):
    task = tasks.create("dyck", kinds=kinds, depth=depth, length=length, train=100)
    assert task.vocabulary is not None
    assert len(task.vocabulary) == 2 * kinds
    deepest = 0
    for tokens, target in task.dataset("train"):
        words = [task.vocabulary[token] for token in tokens]
        open_, answers = [], []
        for word in words:
            if word.startswith("("):
                open_.append(word[1:])
                answers.append(None)
            else:
                assert word == open_.pop() + ")"
                answers.append(word)
            assert len(open_) <= depth
            deepest = max(deepest, len(open_))
        asked = [None if answer == -100 else task.vocabulary[answer] for answer in target.tolist()]
        assert asked == [*answers[1:], None]
        assert any(asked)
    assert deepest == depth


def test_probabilities_are_those_of_the_published_generator():
    """Half the brackets are opened, where the depth leaves the choice; kinds are as likely."""
    task = tasks.create("dyck", kinds=3, depth=3, length=60)
    tokens = task.dataset("train").batch(range(1500)).inputs.numpy()
    opened = tokens >= 3
    before = np.cumsum(np.where(opened, 1, -1), axis=1)[:, :-1]
    assert opened[:, 1:][before == 0].all()
    assert not opened[:, 1:][before == 3].any()
    free = opened[:, 1:][(before == 1) | (before == 2)]
    assert stats.binomtest(int(free.sum()), free.size).pvalue > 1e-3
    assert stats.chisquare(np.bincount(tokens[opened] - 3)).pvalue > 1e-3


def test_chance_is_a_guess_among_the_kinds():
    task = tasks.create("dyck", kinds=4)
    targets = task.dataset("test").batch(range(1000)).targets
    assert float(task.measure(torch.rand(1000, 84, 4), targets)) == pytest.approx(task.chance, abs=0.01)
    assert task.chance == pytest.approx(0.75)


@pytest.mark.parametrize("options", [{"kinds": 1}, {"depth": 0}, {"length": 3}, {"lengths": [100, 3]}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("dyck", **options)
