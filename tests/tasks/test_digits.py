import pytest
import torch
from sklearn.datasets import load_digits

from remanence import tasks


def test_splits_partition_the_real_images():
    task = tasks.Digits()
    parts = [task.dataset(split) for split in tasks.SPLITS]
    assert [len(part) for part in parts] == [1197, 200, 400]
    rows = torch.cat([torch.cat([part.inputs[..., 0] * 16, part.targets[:, None].float()], 1) for part in parts])
    images, labels = load_digits(return_X_y=True)
    original = torch.cat([torch.from_numpy(images).float(), torch.from_numpy(labels)[:, None].float()], 1)
    assert torch.equal(rows.unique(dim=0), original.unique(dim=0))
    assert len(rows) == len(original)


def test_every_digit_is_equally_frequent_in_every_split():
    task = tasks.Digits()
    for split in tasks.SPLITS:
        counts = task.dataset(split).targets.bincount().float()
        assert counts.max() / counts.min() < 1.2


def test_seed_decides():
    a, b, c = (tasks.Digits(seed=seed).dataset("test").inputs for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_contract():
    task = tasks.Digits()
    assert (task.input_size, task.target_size, task.vocabulary) == (1, 10, None)
    assert task.chance == pytest.approx(0.9)
    drawing, digit = task.examples(1)[0].split("-> ")
    assert len(drawing.splitlines()) == 8
    assert int(digit) == task.dataset("train").targets[0]
