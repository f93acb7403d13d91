import numpy as np
import pytest
import torch

from remanence import tasks


@pytest.mark.parametrize(("name", "modulus"), [("parity", 2), ("modsum", 5), ("modsum", 12)])
def test_sums_follow_the_digits(name, modulus):
    options = {} if name == "parity" else {"modulus": modulus}
    task = tasks.create(name, length=30, train=50, **options)
    assert task.vocabulary is not None
    assert (len(task.vocabulary), task.target_size, task.stepwise) == (modulus, modulus, True)
    for digits, sums in task.dataset("train"):
        state = 0
        for digit, said in zip(digits.tolist(), sums.tolist(), strict=True):
            state += int(task.vocabulary[digit])
            while state >= modulus:
                state -= modulus
            assert said == state


def test_digits_and_sums_are_uniform_so_chance_is_a_guess():
    task = tasks.create("modsum")
    batch = task.dataset("train").batch(range(2000))
    for part in (batch.inputs, batch.targets):
        assert np.abs(np.bincount(part.flatten()) - 25_600).max() < 800
    guess = torch.rand(2000, 64, 5)
    assert float(task.measure(guess, batch.targets)) == pytest.approx(task.chance, abs=0.01)
    assert task.chance == pytest.approx(0.8)


def test_examples_show_the_first_samples():
    digits, sums = tasks.create("modsum", length=6).examples(1)[0].split("\n-> ")
    first = tasks.create("modsum", length=6).dataset("train")[0]
    assert [[int(word) for word in part.split()] for part in (digits, sums)] == [part.tolist() for part in first]


@pytest.mark.parametrize("options", [{"modulus": 1}, {"length": 0}, {"lengths": [0]}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("modsum", **options)
