import numpy as np
import pytest
import torch
from scipy import stats

from remanence import tasks


@pytest.mark.parametrize("length", [2, 3, 50, 101])
def test_sequences_follow_the_definition(length):
    samples = tasks.create("adding", length=length, train=300).dataset("train")
    for signal, total in samples:
        assert signal.shape == (length, 2)
        marked = [step for step in range(length) if signal[step, 1] == 1]
        assert set(signal[:, 1].tolist()) <= {0.0, 1.0}
        first, second = marked
        assert first < length // 2 <= second
        assert total.tolist() == [pytest.approx(float(signal[first, 0] + signal[second, 0]))]


def test_numbers_and_places_are_drawn_uniformly():
    batch = tasks.create("adding", length=20).dataset("train").batch(range(10_000))
    assert stats.kstest(batch.inputs[:, :, 0].flatten().numpy(), "uniform").pvalue > 1e-3
    counts = batch.inputs[:, :, 1].sum(0).numpy()
    assert np.abs(counts - 1000).max() < 160


def test_chance_is_what_saying_one_gets():
    task = tasks.create("adding", length=10)
    targets = task.dataset("test").batch(range(10_000)).targets
    assert float(task.measure(torch.ones_like(targets), targets)) == pytest.approx(task.chance, rel=0.03)
    assert float(targets.mean()) == pytest.approx(1, abs=0.02)
    assert float(task.loss(targets, targets)) == 0


def test_examples_show_the_first_samples():
    task = tasks.create("adding", length=10)
    terms, total = task.examples(2)[1].split(" -> ")
    numbers = [float(term.split()[0]) for term in terms.split(" + ")]
    assert sum(numbers) == pytest.approx(float(total), abs=0.002)
    assert float(total) == pytest.approx(float(task.dataset("train")[1][1]), abs=0.001)


def test_a_sequence_needs_two_halves():
    with pytest.raises(ValueError, match="length must be at least 2, got 1"):
        tasks.create("adding", length=1)
