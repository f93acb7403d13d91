import time

import numpy as np
import pytest
import torch

from remanence import tasks


@pytest.mark.parametrize("pairs", [1, 4, 26])
def test_strings_follow_the_definition(pairs):
    task = tasks.Retrieval(pairs=pairs, train=500)
    assert task.vocabulary is not None
    samples = task.dataset("train")
    assert samples.inputs.shape == (500, 2 * pairs + 3)
    for tokens, digit in samples:
        string = "".join(task.vocabulary[token] for token in tokens)
        body, query = string[:-3], string[-1]
        keys, values = body[::2], body[1::2]
        assert string[-3:-1] == "??"
        assert keys.isalpha()
        assert len(set(keys)) == pairs
        assert values.isdigit()
        assert values[keys.index(query)] == task.vocabulary[26 + int(digit)] == str(int(digit))


def test_published_sizes_and_speed():
    task = tasks.create("retrieval")
    start = time.perf_counter()
    sizes = [len(task.dataset(split)) for split in tasks.SPLITS]
    assert sizes == [100_000, 10_000, 20_000]
    assert time.perf_counter() - start < 30  # about 1 s; a loop over strings takes minutes


def test_seed_decides_and_splits_differ():
    def strings(split, seed):
        return tasks.Retrieval(seed=seed).dataset(split).inputs[:10_000]

    assert torch.equal(strings("train", 0), strings("train", 0))
    assert not torch.equal(strings("train", 0), strings("train", 1))
    shared = {tuple(s) for s in strings("train", 0).tolist()} & {tuple(s) for s in strings("test", 0).tolist()}
    assert len(shared) < 5


def test_everything_is_drawn_uniformly():
    task = tasks.Retrieval()
    samples = task.dataset("train")
    first_keys = np.bincount(samples.inputs[:, 0], minlength=26)
    digits = np.bincount(samples.targets, minlength=10)
    asked = np.bincount((samples.inputs[:, 0:8:2] == samples.inputs[:, -1:]).int().argmax(1), minlength=4)
    for counts in (first_keys, digits, asked):
        expected = counts.sum() / len(counts)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_guessing_the_commonest_digit_of_the_string_errs_as_documented():
    samples = tasks.Retrieval().dataset("train")
    values = samples.inputs[:, 1:8:2] - 26
    counts = torch.nn.functional.one_hot(values, 10).sum(1)
    assert (counts.argmax(1) != samples.targets).float().mean() == pytest.approx(0.62, abs=0.01)


def test_loss_metric_and_chance():
    task = tasks.create("retrieval")
    target = torch.tensor([3, 7])
    logits = torch.full((2, 10), -20.0)
    logits[:, 3] = 20.0
    assert task.measure(logits, target) == 0.5
    assert task.loss(torch.zeros(2, 10), target) == pytest.approx(np.log(10))
    assert task.chance == pytest.approx(0.9)


def test_examples_show_the_first_samples():
    task = tasks.create("retrieval", pairs=2)
    assert task.vocabulary is not None
    tokens, digit = task.dataset("train")[0]
    assert task.examples(3)[0] == f"{''.join(task.vocabulary[token] for token in tokens)} -> {int(digit)}"
    assert len(task.examples(3)) == 3


@pytest.mark.parametrize("options", [{"pairs": 0}, {"pairs": 27}, {"train": 0}, {"pair": 3}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("retrieval", **options)


@pytest.mark.unchecked
def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown task 'retreival'; did you mean retrieval"):
        tasks.create("retreival")
    with pytest.raises(ValueError, match="split must be one of train, validation, test"):
        tasks.create("retrieval").dataset("dev")  # pyright: ignore[reportArgumentType]
