"""Tasks whose sequences can have any length: what is measured at other lengths than that of training."""

import pytest
import torch

from remanence import tasks
from remanence.tasks import AnyLength

NAMES = [name for name in tasks.tasks if isinstance(tasks.create(name), AnyLength)]
STEPS = {"long_lookback": 12}  # of the pairs and the questions


def test_all_tasks_that_have_a_length_are_here():
    assert {*NAMES} == {"parity", "modsum", "group", "cycle_nav", "dyck", "induction", "long_lookback"}


@pytest.mark.parametrize("name", NAMES)
def test_samples_of_other_lengths(name):
    task = tasks.create(name, length=20, lengths=[7, 50], test=30)
    assert isinstance(task, AnyLength)
    assert task.lengths == [7, 20, 50]
    for length in task.lengths:
        samples = task.dataset_at(length)
        assert (len(samples), samples.longest) == (30, length + STEPS.get(name, 0))
    again = tasks.create(name, length=20, lengths=[50], test=30)
    assert isinstance(again, AnyLength)
    first, second = (each.dataset_at(50).batch(range(30)) for each in (task, again))
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.targets, second.targets)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_samples_of_their_own(name):
    task = tasks.create(name, length=20, lengths=[50])
    assert isinstance(task, AnyLength)
    sets = [*(task.dataset(split) for split in tasks.SPLITS), task.dataset_at(20), task.dataset_at(50)]
    rows = [{tuple(row[:20].tolist()) for row in samples.batch(range(100)).inputs} for samples in sets]
    for place, some in enumerate(rows):
        for others in rows[:place]:
            assert len(some & others) <= (8 if name == "cycle_nav" else 0)  # which has very short ones too


@pytest.mark.parametrize("name", NAMES)
def test_a_task_may_do_without(name):
    task = tasks.create(name, lengths=[])
    assert isinstance(task, AnyLength)
    assert list(task.lengths) == []


@pytest.mark.parametrize("name", NAMES)
def test_lengths_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match="lengths must be at least"):
        tasks.create(name, lengths=[100, 0])
