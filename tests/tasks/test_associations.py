import numpy as np
import pytest
import torch

from remanence import tasks


def told(signal, size):
    """The pairs of key and value, and the key that is asked for."""
    symbols = [step.nonzero().flatten().tolist() for step in signal]
    assert all(set(step[step != 0].tolist()) == {1.0} for step in signal)
    *pairs, (asked,) = symbols
    assert all(key < size <= value for key, value in pairs)
    return [(key, value - size) for key, value in pairs], asked


@pytest.mark.parametrize("keys", [2, 20])
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_last_value_of_a_key_counts(keys, overwrite):
    task = tasks.create("associations", keys=keys, overwrite=overwrite, train=200)
    for signal, value in task.dataset("train"):
        assert signal.shape == (keys * (1 + overwrite) + 1, 2 * keys)
        pairs, asked = told(signal, keys)
        assert dict(pairs)[asked] == int(value)
        if not overwrite:
            assert sorted(key for key, _ in pairs) == sorted(value for _, value in pairs) == list(range(keys))


def test_keys_that_come_again_get_new_values():
    samples = tasks.create("associations", keys=5, overwrite=True).dataset("train")
    changed = 0
    for index in range(2000):
        signal, value = samples[index]
        pairs, asked = told(signal, 5)
        changed += next(first for key, first in pairs if key == asked) != int(value)
    # The key of a pair drawn at random comes again elsewhere in 9 others with probability 1 - (4/5)^9, then 4/5 differ.
    assert changed / 2000 == pytest.approx((1 - 0.8**9) * 0.8, abs=0.04)


@pytest.mark.parametrize("overwrite", [False, True])
def test_queries_and_values_are_drawn_uniformly(overwrite):
    batch = tasks.create("associations", keys=5, overwrite=overwrite).dataset("train").batch(range(5000))
    for counts in (batch.inputs[:, -1, :5].sum(0).numpy(), np.bincount(batch.targets)):
        assert np.abs(counts - 1000).max() < 150


def test_chance_is_what_the_mean_gets():
    task = tasks.create("associations", keys=8)
    values = task.dataset("test").batch(range(500)).targets
    output = torch.full((500, 8), 1 / 8)
    assert float(task.measure(output, values)) == pytest.approx(task.chance)
    vectors = np.eye(8)[values.numpy()]
    other = torch.rand(500, 8)
    literal = sum(0.5 * (v - o) ** 2 for v, o in zip(vectors.flat, other.numpy().flat, strict=True)) / 500
    assert float(task.loss(other, values)) == pytest.approx(literal, rel=1e-5)
    assert task.loss(torch.from_numpy(vectors), values) == 0


def test_examples_show_the_first_samples():
    task = tasks.create("associations", keys=3)
    given, answer = task.examples(2)[1].split("? -> ")
    *pairs, asked = given.split()
    assert dict(pair.split("=") for pair in pairs)[asked] == answer == f"v{int(task.dataset('train')[1][1])}"


def test_one_key_is_too_few():
    with pytest.raises(ValueError, match="keys must be at least 2, got 1"):
        tasks.create("associations", keys=1)
