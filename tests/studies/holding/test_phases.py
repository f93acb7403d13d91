import pytest
import torch

from remanence import tasks
from studies.holding.phases import find_phases


def test_recall_is_written_while_it_is_shown():
    task = tasks.create("recall", delay=5, shown=3, train=4)
    batch = task.dataset("train").batch(range(4))
    found = find_phases(task, batch)
    assert found.write[0].tolist() == [True] * 3 + [False] * 5
    assert torch.equal(found.hold, ~found.write)
    assert found.remembered.argmax(-1).eq(batch.targets[:, None]).all()


def test_a_flip_flop_holds_between_pulses_once_every_bit_is_known():
    task = tasks.create("flipflop", bits=2, length=40, pulse=0.2, train=50)
    batch = task.dataset("train").batch(range(50))
    found = find_phases(task, batch)
    for pulses, hold, write, bits in zip(batch.inputs, found.hold, found.write, found.remembered, strict=True):
        last = [0.0, 0.0]
        for t in range(40):
            last = [pulse or before for pulse, before in zip(pulses[t].tolist(), last, strict=True)]
            assert bool(write[t]) == bool(pulses[t].any())
            assert bool(hold[t]) == (all(last) and not pulses[t].any())
            assert bits[t].tolist() == last


def test_a_task_without_phases_is_named():
    task = tasks.create("retrieval", pairs=2, train=4)
    with pytest.raises(ValueError, match="Retrieval has no phases of holding"):
        find_phases(task, task.dataset("train").batch([0]))
