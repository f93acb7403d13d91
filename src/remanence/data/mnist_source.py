"""MNIST, in its authors' IDX format."""

import struct
from pathlib import Path

import numpy as np

from remanence.data.source import Progress, Source, iter_contents
from remanence.data.store import Writer
from remanence.errors import UserError

SIDE = 28
LARGEST = 1 << 26  # bytes of a file
ROWS = {"train": 60_000, "t10k": 10_000}
SPLITS = {"train": "train", "t10k": "test"}
CHECKSUMS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""Of the unpacked files."""


def read(source: Source, path: Path, writer: Writer, progress: Progress) -> None:
    """Read images [images, 784] and labels for each split."""
    for done, (name, content) in enumerate(iter_contents(source, path, tuple(CHECKSUMS), LARGEST), start=1):
        part, kind = name.split("-")[:2]
        shape = (ROWS[part], SIDE, SIDE) if kind == "images" else (ROWS[part],)
        array = parse_idx(f"{path}: {name}", content, shape)
        if kind == "labels" and array.max() > 9:
            raise UserError(f"{path}: {name} has the label {array.max()}, they should be from 0 to 9")
        writer.append(f"{SPLITS[part]}.{kind}", array.reshape(len(array), *[SIDE**2][: array.ndim - 1]))
        progress(done, len(CHECKSUMS))


def parse_idx(name: str, content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Parse an array of bytes in IDX format: 0, 0, 8 (unsigned byte), dimensions, sizes (big-endian), the bytes.

    Raises:
        ValueError: another format or another shape than expected, or a truncated file.
    """
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    if content[:4] != header[:4]:
        raise UserError(f"{name} is not an IDX file of bytes in {len(shape)} dimensions")
    if content[: len(header)] != header:
        sizes = np.frombuffer(content[4 : len(header)].ljust(4 * len(shape), b"\0"), ">u4").tolist()
        raise UserError(f"{name} should hold {list(shape)} bytes, it says {sizes}")
    if len(content) != len(header) + np.prod(shape):
        raise UserError(f"{name} is truncated or too long: {len(content):,} bytes")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


MNIST = Source(
    name="mnist",
    title="MNIST (LeCun, Cortes, Burges)",
    publisher="http://yann.lecun.com/exdb/mnist/",
    wanted="a folder of the four files *-ubyte.gz",
    read=read,
    checksums=CHECKSUMS,
)
