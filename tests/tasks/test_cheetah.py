import io

import numpy as np
import pytest
import torch

from remanence import tasks
from remanence.data import cheetah_source, load, prepare

STEPS = 60


@pytest.fixture
def traces():
    return np.random.default_rng(0).normal(size=(26, STEPS, 17))


def as_npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path, traces):
    folder = tmp_path / "cheetah"
    folder.mkdir()
    for number, trace in enumerate(traces):
        (folder / f"trace_{number:04}.npy").write_bytes(as_npy(trace))
    return folder


def test_sequences_counted_by_hand(folder, traces):
    """The published loop: starts 0, 10, 20 of 60 steps, for ``range(0, 60 - 32 - 1, 10)``."""
    prepare(cheetah_source.CHEETAH, folder)
    task = tasks.create("cheetah")
    expected: dict[tasks.Split, range] = {"validation": range(5), "test": range(5, 15), "train": range(15, 25)}
    for split, files in expected.items():
        samples = task.dataset(split)
        assert len(samples) == 3 * len(files)
        for row, (file, start) in enumerate((file, start) for file in files for start in (0, 10, 20)):
            x, y = samples[row]
            np.testing.assert_allclose(x, traces[file, start : start + 32], rtol=1e-6)
            np.testing.assert_allclose(y, traces[file, start + 1 : start + 33], rtol=1e-6)


def test_loss_and_chance(folder, traces):
    prepare(cheetah_source.CHEETAH, folder)
    task = tasks.Cheetah()
    output, target = torch.randn(2, 3, 17), torch.randn(2, 3, 17)
    assert task.loss(output, target) == task.measure(output, target) == pytest.approx(((output - target) ** 2).mean())
    mean = task.dataset("train").targets.mean((0, 1))
    assert task.chance == pytest.approx(float(((task.dataset("test").targets - mean) ** 2).mean()), rel=1e-5)
    assert task.chance == pytest.approx(1, abs=0.1)  # white noise here


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (as_npy(np.zeros((9, 16))), r"should be an array \[steps, 17\]"),
        (as_npy(np.zeros((9, 17), int)), r"should be an array \[steps, 17\]"),
        (as_npy(np.full((9, 17), np.nan)), "not finite"),
        (as_npy(np.zeros((9, 17)))[:-5], "truncated"),
        (as_npy(np.array([{}], object), allow_pickle=True), "holds no numbers"),
    ],
)
def test_wrong_files_are_named(folder, content, message):
    (folder / "trace_0003.npy").write_bytes(content)
    with pytest.raises(ValueError, match=f"trace_0003.npy.*{message}"):
        prepare(cheetah_source.CHEETAH, folder)
    assert load("cheetah") is None


def test_missing_traces_are_counted(folder):
    for number in range(3):
        (folder / f"trace_{number:04}.npy").unlink()
    with pytest.raises(ValueError, match="lacks traces: 23 instead of 25 or more; for the half-cheetah traces"):
        prepare(cheetah_source.CHEETAH, folder)
