import numpy as np
import pytest
import torch
from scipy import stats

from remanence import tasks
from remanence.tasks import CycleNavigation


@pytest.mark.parametrize("places", [2, 5, 6])
def test_moves_end_where_they_lead(places):
    task = tasks.create("cycle_nav", places=places, length=12)
    assert task.vocabulary is not None
    assert task.vocabulary == ["-1", "0", "+1"]
    batch = task.dataset("train").batch(range(200))
    assert batch.mask is not None
    for tokens, target, mask in zip(batch.inputs, batch.targets.tolist(), batch.mask, strict=True):
        moves = int(mask.sum())
        assert mask.tolist() == [True] * moves + [False] * (12 - moves)
        assert not tokens[moves:].any()
        place = 0
        for token in tokens[:moves].tolist():
            place += int(task.vocabulary[token])
            place = {-1: places - 1, places: 0}.get(place, place)
        assert target == place


def test_lengths_and_moves_are_drawn_uniformly():
    batch = tasks.create("cycle_nav", length=10).dataset("train").batch(range(5000))
    assert batch.mask is not None
    lengths = batch.mask.sum(1)
    assert stats.chisquare(np.bincount(lengths, minlength=11)[1:]).pvalue > 1e-3
    assert stats.chisquare(np.bincount(batch.inputs[batch.mask])).pvalue > 1e-3


def test_chance_is_the_best_constant_guess():
    task = tasks.create("cycle_nav", length=6)
    targets = task.dataset("train").batch(range(20_000)).targets
    guesses = [float(task.measure(torch.eye(5)[place].expand(20_000, 5), targets)) for place in range(5)]
    assert min(guesses) == pytest.approx(task.chance, abs=0.01)
    assert tasks.create("cycle_nav", length=1).chance == pytest.approx(2 / 3)
    assert tasks.create("cycle_nav", length=10_000).chance == pytest.approx(0.8, abs=1e-3)


def test_at_one_length_every_move_is_real():
    batch = CycleNavigation(test=50).dataset_at(90).batch(range(50))
    assert batch.mask is None
    assert batch.inputs.shape == (50, 90)
    assert batch.targets.tolist() == ((batch.inputs - 1).sum(1) % 5).tolist()


@pytest.mark.parametrize("options", [{"places": 1}, {"length": 0}, {"lengths": [0]}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("cycle_nav", **options)
