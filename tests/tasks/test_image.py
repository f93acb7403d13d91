import pickle

import numpy as np
import pytest
import torch

from remanence import tasks
from remanence.data import cifar_source, load, prepare

ROWS = 20


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(cifar_source, "ROWS", ROWS)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6 * ROWS, 3, 1024), dtype=np.uint8)


@pytest.fixture
def files(images):
    """The six files, in another order than their numbers, as in the archive that people download."""
    names = ["data_batch_4", "test_batch", "data_batch_3", "data_batch_2", "data_batch_5", "data_batch_1"]
    content = {"cifar-10-batches-py/readme.html": b"<p>"}
    for name in names:
        at = 5 if name == "test_batch" else int(name[-1]) - 1
        rows = images[at * ROWS : (at + 1) * ROWS].reshape(ROWS, 3072)
        labels = [(at + row) % 10 for row in range(ROWS)]
        data = {b"data": rows, b"labels": labels, b"filenames": [b"x.png"] * ROWS, b"batch_label": b"batch"}
        content[f"cifar-10-batches-py/{name}"] = pickle.dumps(data, 2)
    return content


def test_splits_hold_the_files_in_their_order(files, make_tar, images):
    prepare(cifar_source.CIFAR10, make_tar(files), verify=False)
    task = tasks.create("image")
    parts = {split: task.dataset(split) for split in tasks.SPLITS}
    assert [len(part) for part in parts.values()] == [90, 10, 20]
    weights = np.array([0.2989, 0.5870, 0.1140])
    grey = np.einsum("npk,k->np", images.transpose(0, 2, 1).astype(float), weights)
    everything = torch.cat([parts[split].batch(range(len(parts[split]))).inputs for split in tasks.SPLITS])
    assert np.abs(everything.numpy() - grey).max() <= 1
    assert parts["test"][3][1] == 8
    assert parts["train"].longest == 1024
    assert task.vocabulary is not None
    assert everything.max() < len(task.vocabulary) == 256


def test_grey_images_stay_what_they_are():
    shades = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(cifar_source.convert_to_grey(np.stack([shades] * 3)[None])[0], shades)


def test_pixels_as_a_signal(files, make_tar):
    prepare(cifar_source.CIFAR10, make_tar(files), verify=False)
    tokens = tasks.create("image").dataset("test").batch([2, 5])
    signal = tasks.create("image", pixels="signal").dataset("test").batch([2, 5])
    torch.testing.assert_close(signal.inputs[..., 0] * 255, tokens.inputs.float())
    assert tasks.create("image", pixels="signal").input_size == 1


@pytest.mark.unchecked
def test_other_kinds_of_pixels_are_refused():
    with pytest.raises(ValueError, match="pixels must be tokens or signal"):
        tasks.create("image", pixels="colours")


def test_other_files_than_the_published_are_refused(files, make_tar, data_directory):
    with pytest.raises(ValueError, match=r"data_batch_4 is not the file that is published \(MD5 .*--unverified"):
        prepare(cifar_source.CIFAR10, make_tar(files))
    assert not list(data_directory.iterdir())


def test_a_missing_file_is_named(files, make_tar, data_directory):
    del files["cifar-10-batches-py/data_batch_2"]
    with pytest.raises(ValueError, match=r"lacks data_batch_2; for CIFAR-10 .* get cifar-10-python\.tar\.gz from http"):
        prepare(cifar_source.CIFAR10, make_tar(files), verify=False)
    assert not list(data_directory.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": np.zeros((ROWS, 3071), np.uint8)}, "no images of 3 x 32 x 32"),
        ({b"labels": [0] * (ROWS - 1)}, "a label from 0 to 9 for each"),
        ({b"labels": [10] * ROWS}, "a label from 0 to 9 for each"),
        ({b"labels": [[]] * ROWS}, "a label from 0 to 9 for each"),
        ({b"labels": [1.5] * ROWS}, "a label from 0 to 9 for each"),
        ({b"labels": [0], b"data": np.zeros((1, 3072), np.uint8)}, "should hold 20 images, it holds 1"),
    ],
)
def test_wrong_counts_are_named(files, make_tar, change, message):
    name = "cifar-10-batches-py/test_batch"
    files[name] = pickle.dumps({**pickle.loads(files[name]), **change}, 2)
    with pytest.raises(ValueError, match=f"test_batch.*{message}"):
        prepare(cifar_source.CIFAR10, make_tar(files), verify=False)
    assert load("cifar10") is None


def test_before_it_is_prepared_the_message_says_how():
    with pytest.raises(ValueError, match=r"image needs CIFAR-10.*cs\.toronto\.edu.*remanence data image --from PATH"):
        tasks.create("image").dataset("train")


def test_examples_are_drawn(files, make_tar):
    prepare(cifar_source.CIFAR10, make_tar(files), verify=False)
    *rows, label = tasks.create("image").examples(2)[0].splitlines()
    assert len(rows) == 32
    assert label == "-> airplane"
