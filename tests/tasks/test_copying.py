from math import log

import numpy as np
import pytest
import torch

from remanence import tasks


@pytest.mark.parametrize(("delay", "symbols", "length"), [(1, 2, 1), (5, 8, 10), (100, 3, 4)])
def test_sequences_follow_the_definition(delay, symbols, length):
    task = tasks.create("copy", delay=delay, symbols=symbols, length=length, train=200)
    assert task.vocabulary is not None
    for tokens, target in task.dataset("train"):
        words, answers = ([task.vocabulary[token] for token in row] for row in (tokens, target))
        said = words[:length]
        assert all(word.isdigit() for word in said)
        assert words[length:] == ["·"] * (delay - 1) + [">"] + ["·"] * length
        assert answers == ["·"] * (length + delay) + said
        assert len(words) == delay + 2 * length


def test_published_sizes():
    task = tasks.create("copy", delay=1000)
    assert task.vocabulary is not None
    assert (len(task.vocabulary), task.target_size, task.stepwise) == (10, 9, True)
    assert task.dataset("test").longest == 1020
    assert task.chance == pytest.approx(10 * log(8) / 1020)


def test_a_long_delay_takes_a_batch_of_memory_not_a_split():
    samples = tasks.create("copy", delay=10_000, train=10**9).dataset("train")
    assert samples.batch([0, 999_999_999]).inputs.shape == (2, 10_020)


def test_symbols_are_drawn_uniformly_at_each_place():
    tokens = tasks.create("copy", delay=1).dataset("train").batch(range(8000)).inputs
    for place in range(10):
        assert np.abs(np.bincount(tokens[:, place], minlength=8) - 1000).max() < 160


def test_chance_is_what_the_memoryless_guess_gets():
    task = tasks.Copy(delay=20)
    batch = task.dataset("test").batch(range(500))
    logits = torch.zeros(500, 40, 9)
    logits[:, :30, 8] = 50  # sure of the blanks
    logits[:, 30:, 8] = -50  # and sure that then a symbol comes
    assert float(task.measure(logits, batch.targets)) == pytest.approx(task.chance, rel=1e-5)
    assert float(task.loss(logits, batch.targets)) == pytest.approx(task.chance, rel=1e-5)
    logits[:, 30:, :8] += torch.rand(500, 10, 8)
    assert float(task.error_rate(logits, batch.targets)) == pytest.approx(7 / 8, abs=0.03)


def test_who_remembers_errs_nowhere():
    task = tasks.Copy(delay=20)
    batch = task.dataset("test").batch(range(50))
    logits = 50 * torch.nn.functional.one_hot(batch.targets, 9).float()
    assert float(task.measure(logits, batch.targets)) == pytest.approx(0, abs=1e-6)
    assert float(task.error_rate(logits, batch.targets)) == 0


def test_examples_show_the_first_samples():
    task = tasks.create("copy", delay=4, length=2)
    given, said = task.examples(1)[0].split(" -> ")
    symbols = given.split()[:2]
    assert given.split()[2:] == ["·x3", ">", "·x2"]
    assert said.split() == ["·x6", *symbols]
    assert len(tasks.create("copy", train=2).examples(5)) == 2


@pytest.mark.parametrize("options", [{"delay": 0}, {"symbols": 1}, {"length": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("copy", **options)
