import numpy as np
import pytest
import torch
from scipy import stats

from remanence import tasks
from remanence.tasks.drawn import Drawn, draw_bits, draw_uniform

MADE = {  # every task whose samples are drawn when they are asked for, small
    "copy": {"delay": 5, "length": 3},
    "adding": {"length": 6},
    "denoise": {"stretch": 5, "length": 3},
    "flipflop": {"length": 9},
    "flipflop_language": {"length": 10},
    "mqar": {"pairs": 2, "length": 12},
    "parity": {"length": 12},
    "modsum": {"length": 8},
    "group": {"length": 9},
    "cycle_nav": {"length": 9},
    "dyck": {"length": 9},
    "selective_copy": {"stretch": 9, "length": 3},
    "induction": {"length": 9},
    "long_lookback": {"length": 9},
    "reset_recall": {"length": 8},
    "associations": {"keys": 4},
}


def test_the_stream_is_that_of_splitmix64():
    # The first numbers of the generator's reference code for the seed 1234567.
    reference = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert draw_bits(1234567, np.array([0]), 5)[0].tolist() == reference
    assert draw_bits(1234567, np.arange(5), 1)[:, 0].tolist() == reference
    assert draw_bits(1234567, np.array([1]), 2)[0].tolist() == reference[2:4]


def test_numbers_are_uniform_and_rows_and_columns_independent():
    numbers = draw_uniform(7, np.arange(2000), 50)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.reshape(-1), "uniform").pvalue > 1e-3
    for shifted in (numbers[1:] - numbers[:-1], numbers[:, 1:] - numbers[:, :-1]):
        assert shifted.var() == pytest.approx(2 / 12, rel=0.01)  # of two independent uniform numbers
    correlations = np.corrcoef(numbers.T) - np.eye(50)
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)


def test_samples_are_drawn_by_their_place():
    def numbers(rows):
        return rows.astype(np.float32), rows[:, 0]

    samples = Drawn(numbers, 4, 10, (0, 1))
    assert len(samples) == 10
    assert samples.longest == 4
    batch = samples.batch([7, 2])
    assert torch.equal(batch.inputs[1], samples[2][0])
    assert torch.equal(samples[-1][0], samples[9][0])
    assert len({float(target) for _, target in samples}) == 10
    assert not torch.equal(samples[0][0], Drawn(numbers, 4, 10, (0, 2))[0][0])
    with pytest.raises(IndexError, match="there are 10 samples"):
        samples[10]


@pytest.mark.parametrize("name", MADE)
def test_seed_decides_and_splits_differ(name):
    def sample(split: tasks.Split = "train", seed=0):
        return tasks.create(name, **MADE[name], seed=seed).dataset(split).batch(range(50))

    for one, other in zip(sample()[:2], sample()[:2], strict=True):
        assert torch.equal(one, other)
    for other in (sample(seed=1), sample("validation"), sample("test")):
        assert not torch.equal(sample().inputs, other.inputs)


@pytest.mark.parametrize("name", MADE)
def test_a_longer_set_starts_like_a_shorter_one(name):
    short, long = (tasks.create(name, **MADE[name], train=size).dataset("train") for size in (3, 10**12))
    assert len(long) == 10**12
    assert torch.equal(short.batch([0, 2]).inputs, long.batch([0, 2]).inputs)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("option", ["train", "validation", "test", "seed"])
def test_sizes_and_seeds_out_of_range_are_refused(name, option):
    with pytest.raises(ValueError, match=f"{option} must be at least"):
        tasks.create(name, **{option: -1})
