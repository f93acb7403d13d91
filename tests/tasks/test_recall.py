import numpy as np
import pytest
import torch

from remanence import tasks


def test_sequences_follow_the_definition():
    task = tasks.Recall(delay=300, symbols=5, noise=0.2, shown=7, train=400)
    samples = task.dataset("train")
    assert samples.inputs.shape == (400, 307, 5)
    raised = torch.nn.functional.one_hot(samples.targets, 5).float()
    noise = samples.inputs.clone()
    noise[:, :7] -= raised[:, None]
    assert float(noise.mean()) == pytest.approx(0, abs=0.001)
    assert float(noise.std()) == pytest.approx(0.2, rel=0.01)
    assert float(noise[:, :7].std()) == pytest.approx(0.2, rel=0.02)
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert float(neighbours) == pytest.approx(0, abs=0.01)


def test_what_follows_the_symbol_says_nothing_of_it():
    samples = tasks.Recall(delay=50, train=4000).dataset("train")
    guess = samples.inputs[:, 10:].mean(1).argmax(-1)
    assert float((guess != samples.targets).float().mean()) == pytest.approx(tasks.create("recall").chance, abs=0.03)
    seen = samples.inputs[:, :10].mean(1).argmax(-1)
    assert torch.equal(seen, samples.targets)


def test_without_noise_or_delay():
    samples = tasks.Recall(delay=0, noise=0.0, shown=1, train=6).dataset("train")
    assert torch.equal(samples.inputs[:, 0], torch.nn.functional.one_hot(samples.targets, 4).float())


def test_seed_decides_splits_differ_and_symbols_are_drawn_uniformly():
    def inputs(split, seed):
        return tasks.Recall(delay=5, seed=seed).dataset(split).inputs[:200]

    assert torch.equal(inputs("train", 0), inputs("train", 0))
    assert not torch.equal(inputs("train", 0), inputs("train", 1))
    assert not torch.equal(inputs("train", 0), inputs("validation", 0))
    counts = np.bincount(tasks.Recall(delay=0, train=4000).dataset("train").targets)
    assert np.abs(counts - 1000).max() < 150


def test_more_sequences_can_be_drawn_than_a_split_has():
    task, rng = tasks.Recall(delay=3, train=1), np.random.default_rng(5)
    first, second = task.draw(8, rng), task.draw(8, rng)
    assert first.inputs.shape == (8, 13, 4)
    assert not torch.equal(first.inputs, second.inputs)


def test_contract_and_examples():
    task = tasks.Recall(symbols=3, delay=20)
    assert (task.input_size, task.target_size, task.vocabulary) == (3, 3, None)
    assert task.chance == pytest.approx(2 / 3)
    text, symbol = task.examples(2)[0].split(" -> ")
    channels = [float(number) for number in text.split(" for ")[0].split()]
    assert int(np.argmax(channels)) == int(symbol) == int(task.dataset("train").targets[0])


@pytest.mark.parametrize("options", [{"delay": -1}, {"symbols": 1}, {"noise": -0.1}, {"shown": 0}, {"test": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("recall", **options)
