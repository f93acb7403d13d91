import gzip
import struct

import numpy as np
import pytest
import torch

from remanence import tasks
from remanence.data import load, mnist_source, prepare

ROWS = {"train": 40, "t10k": 10}


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(mnist_source, "ROWS", ROWS)


@pytest.fixture
def images():
    return {part: np.random.default_rng(0).integers(0, 256, (rows, 28, 28), np.uint8) for part, rows in ROWS.items()}


@pytest.fixture
def files(images):
    content = {}
    for part, rows in ROWS.items():
        labels = bytes(row % 10 for row in range(rows))
        header = struct.pack(">IIII", 0x803, rows, 28, 28)
        content[f"{part}-images-idx3-ubyte"] = header + images[part].tobytes()
        content[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, rows) + labels
    return content


def write(folder, files, *, packed=True):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{'.gz' * packed}").write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_splits_hold_the_images_in_their_order(tmp_path, files, images, packed):
    prepare(mnist_source.MNIST, write(tmp_path / "mnist", files, packed=packed), verify=False)
    task = tasks.create("mnist")
    assert [len(task.dataset(split)) for split in tasks.SPLITS] == [36, 4, 10]
    batch = task.dataset("validation").batch([0, 3])
    assert batch.inputs.shape == (2, 784, 1)
    np.testing.assert_allclose(batch.inputs[1, :, 0] * 255, images["train"][39].reshape(-1), rtol=1e-5)
    assert batch.targets.tolist() == [6, 9]
    assert (task.input_size, task.target_size, task.vocabulary) == (1, 10, None)


def test_permuted_pixels_are_the_same_for_all(tmp_path, files):
    prepare(mnist_source.MNIST, write(tmp_path / "mnist", files), verify=False)
    plain, permuted, other = (
        tasks.create("mnist", **options).dataset("test").batch(range(10)).inputs[..., 0]
        for options in ({}, {"permuted": True}, {"permuted": True, "seed": 1})
    )
    order = tasks.MNIST(permuted=True).order
    assert torch.equal(plain[:, order], permuted)
    assert order.sort()[0].equal(torch.arange(784))
    assert not torch.equal(permuted, other)
    single, _ = tasks.create("mnist", permuted=True).dataset("test")[3]
    assert torch.equal(single[:, 0], permuted[3])


def test_other_files_than_the_published_are_refused(tmp_path, files):
    with pytest.raises(ValueError, match="is not the file that is published"):
        prepare(mnist_source.MNIST, write(tmp_path / "mnist", files))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda c: c[:-1], "is truncated or too long"),
        (
            "train-images-idx3-ubyte",
            lambda c: c[:4] + struct.pack(">I", 39) + c[8:],
            r"\[40, 28, 28\] bytes, it says",
        ),
        ("t10k-labels-idx1-ubyte", lambda c: c[:8] + b"\x0a" * 10, "has the label 10"),
        ("t10k-labels-idx1-ubyte", lambda c: b"\0\0\x0d\x01" + c[4:], "not an IDX file of bytes in 1 dimensions"),
        ("t10k-labels-idx1-ubyte", lambda c: b"", "not an IDX file"),
    ],
)
def test_wrong_files_are_named(tmp_path, files, name, change, message):
    files[name] = change(files[name])
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        prepare(mnist_source.MNIST, write(tmp_path / "mnist", files), verify=False)
    assert load("mnist") is None


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_unpacks_to_more_than_there_can_be_is_named(tmp_path, files, packed):
    folder = write(tmp_path / "mnist", files, packed=packed)
    path = folder / f"train-images-idx3-ubyte{'.gz' * packed}"
    content = bytes(mnist_source.LARGEST + 1)
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    with pytest.raises(ValueError, match=f"{path.name} .*67,108,864 bytes that were expected"):
        prepare(mnist_source.MNIST, folder, verify=False)


def test_a_truncated_gzip_file_is_named(tmp_path, files):
    folder = write(tmp_path / "mnist", files)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is truncated"):
        prepare(mnist_source.MNIST, folder, verify=False)
    path.unlink()
    with pytest.raises(ValueError, match="lacks train-images-idx3-ubyte; for MNIST"):
        prepare(mnist_source.MNIST, folder, verify=False)


def test_fewer_images_train_and_the_others_stay(tmp_path, files):
    prepare(mnist_source.MNIST, write(tmp_path / "mnist", files), verify=False)
    few, all_of_them = tasks.create("mnist", train=7), tasks.create("mnist")
    assert len(few.dataset("train")) == 7
    for split in ("validation", "test"):
        assert torch.equal(few.dataset(split).batch([0]).inputs, all_of_them.dataset(split).batch([0]).inputs)
    with pytest.raises(ValueError, match="train must be at least 1 image"):
        tasks.create("mnist", train=0)
