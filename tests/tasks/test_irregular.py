import numpy as np
import pytest
import torch

from remanence import tasks
from remanence.data import load, prepare

TINY = {"train": 300, "validation": 10, "test": 20}


def test_series_follow_the_definition():
    """A least-squares fit of both sines at the times that were observed tells which is ahead."""
    samples = tasks.create("irregular", **TINY).dataset("train")
    batch = samples.batch(range(300))
    assert batch.inputs.shape == (300, 50, 4)
    values, observed = batch.inputs[..., :2].numpy(), batch.inputs[..., 2:].numpy()
    assert (observed.sum(-1) == 1).all()
    assert not values[observed == 0].any()
    assert batch.timespans is not None
    gaps = batch.timespans[:, 1:].numpy()
    assert gaps.mean() == pytest.approx(1, abs=0.03)
    assert (gaps < 1).mean() == pytest.approx(1 - np.exp(-1), abs=0.02)
    times = batch.timespans.numpy().cumsum(1)
    right = 0
    for row in range(300):
        phases = []
        for channel in range(2):
            seen = observed[row, :, channel] == 1
            angle = 2 * np.pi * times[row, seen] / 3
            fit = np.linalg.lstsq(np.stack([np.sin(angle), np.cos(angle)], 1), values[row, seen, channel], rcond=None)[
                0
            ]
            phases.append(np.arctan2(fit[1], fit[0]))
        ahead = np.sin(phases[0] - phases[1])
        assert abs(ahead) > 0.8
        right += (ahead < 0) == bool(batch.targets[row])
    assert right == 300


def test_timespans_as_a_channel():
    timed = tasks.create("irregular", **TINY)
    plain = tasks.create("irregular", **TINY, elapsed="channel")
    assert (timed.input_size, plain.input_size, timed.timed, plain.timed) == (4, 5, True, False)
    a, b = timed.dataset("test").batch([3, 4]), plain.dataset("test").batch([3, 4])
    assert b.timespans is None
    assert a.timespans is not None
    assert torch.equal(b.inputs[..., 4], a.timespans)
    assert torch.equal(b.inputs[..., :4], a.inputs)


def test_seed_decides_and_splits_differ():
    def first(split, seed):
        return tasks.create("irregular", **TINY, seed=seed).dataset(split).batch(range(10)).inputs

    assert torch.equal(first("train", 0), first("train", 0))
    assert not torch.equal(first("train", 0), first("train", 1))
    assert not torch.equal(first("train", 0), first("test", 0))


@pytest.fixture
def table(tmp_path):
    """Twenty series of two to four observations of two channels, two time units apart, class by their number."""
    lines = ["series,time,label,heart,breath"]
    for number in range(20):
        for step in range(2 + number % 3):
            breath = "" if step == 1 else f"{number}.25"
            lines.append(f"patient{number},{100 + 2 * step},{'ab'[number % 2]},{step}.5,{breath}")
    path = tmp_path / "series.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_of_ones_own(table):
    task = tasks.create("irregular", name="patients")
    assert task.source is not None
    prepare(task.source, table)
    parts = [task.dataset(split) for split in tasks.SPLITS]
    assert [len(part) for part in parts] == [14, 3, 3]
    assert (task.input_size, task.target_size) == (4, 2)
    seen = set()
    for part in parts:
        for row in range(len(part)):
            batch = part.batch([row])
            number = int(batch.inputs[0, 0, 1])
            seen.add(number)
            assert batch.targets[0] == number % 2
            assert batch.inputs.shape[1] == 2 + number % 3
            assert (batch.timespans == 1).all()
            assert batch.inputs[0, 1].tolist() == [1.5, 0, 1, 0]
            assert batch.inputs[0, 0].tolist() == [0.5, number + 0.25, 1, 1]
    assert seen == set(range(20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("series,time", "id,time"), "must begin with the columns series, time, label"),
        (lambda t: t.replace("patient3,102", "patient3,100"), "times of a series must increase"),
        (lambda t: t.replace("1.5", "high", 1), "row 3: expected series, time, label, heart, breath"),
        (lambda t: t.replace("1.5", "inf", 1), "row 3: expected series, time, label, heart, breath, all finite"),
        (lambda t: t.replace("1.5", "1e39", 1), "row 3: expected series, time, label, heart, breath, all finite"),
        (lambda t: t + "patient20,1e308,a,1,1\n", "expected series, time, label, heart, breath, all finite"),
        (lambda t: t + "patient20,nan,a,1,1\n", "expected series, time, label, heart, breath, all finite"),
        (lambda t: t + "patient20,1,a,1\n", "expected series, time, label, heart, breath"),
        (lambda t: t.splitlines()[0], "holds no series"),
        (lambda t: t.encode() + b"\xff\xfe", "series.csv is not a table of text"),
        (lambda t: t + "x" * 200_000 + ",1,a,1,1\n", "series.csv is not a table of text"),
    ],
)
def test_wrong_tables_are_named(table, change, message):
    content = change(table.read_text())
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    task = tasks.create("irregular", name="patients")
    assert task.source is not None
    with pytest.raises(ValueError, match=message):
        prepare(task.source, table)
    assert load("irregular-patients") is None


@pytest.mark.unchecked
@pytest.mark.parametrize("options", [{"train": 0}, {"length": 0}, {"elapsed": "clock"}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("irregular", **options)
