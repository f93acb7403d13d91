"""CIFAR-10, in the layout of ``cifar-10-python.tar.gz``."""

from pathlib import Path
from typing import Any

import numpy as np

from remanence.data.pickles import read_plain
from remanence.data.source import Progress, Source, iter_contents
from remanence.data.store import Writer
from remanence.errors import UserError

SIDE = 32
LARGEST = 1 << 26  # bytes of a file
ROWS = 10_000  # of a file
LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
GREY = np.array([0.2989, 0.5870, 0.1140], np.float32)
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
CHECKSUMS = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
    """Read grey images [images, 1024] and labels, the training files in order."""
    names = (*TRAIN, "test_batch")
    files: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, content in iter_contents(source, path, names, LARGEST):
        files[name] = parse_batch(f"{path}: {name}", read_plain(f"{path}: {name}", content))
        progress(len(files), len(names))
    for name in names:
        images, labels = files.pop(name)
        split = "test" if name == "test_batch" else "train"
        writer.append(f"{split}.images", images)
        writer.append(f"{split}.labels", labels)


def parse_batch(name: str, data: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Parse the images and labels of one file.

    Raises:
        ValueError: not the counts that the format has.
    """
    images, labels = data.get("data"), data.get("labels")
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != 3 * SIDE**2:
        raise UserError(f"{name} holds no images of 3 x {SIDE} x {SIDE} bytes")
    known = isinstance(labels, list) and all(type(label) is int and 0 <= label < len(LABELS) for label in labels)
    if not isinstance(labels, list) or not known or len(labels) != len(images):
        raise UserError(f"{name} should have a label from 0 to {len(LABELS) - 1} for each of its {len(images)} images")
    if len(images) != ROWS:
        raise UserError(f"{name} should hold {ROWS:,} images, it holds {len(images):,}")
    return convert_to_grey(images.reshape(-1, 3, SIDE**2)), np.array(labels, np.uint8)


def convert_to_grey(images: np.ndarray) -> np.ndarray:
    """Convert [images, 3, pixels] to [images, pixels]: ``0.2989 R + 0.5870 G + 0.1140 B``, rounded as by TensorFlow."""
    # tf.image.rgb_to_grayscale goes from bytes to 0 ... 1 and back by 255.5, cutting off.
    weighted = np.einsum("nkp,k->np", images.astype(np.float32) / 255, GREY)
    return np.minimum(weighted * 255.5, 255).astype(np.uint8)


CIFAR10 = Source(
    name="cifar10",
    title="CIFAR-10 (Krizhevsky 2009)",
    publisher="https://www.cs.toronto.edu/~kriz/cifar.html",
    wanted="cifar-10-python.tar.gz",
    read=read,
    checksums=CHECKSUMS,
)
