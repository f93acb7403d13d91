"""Small files in the formats in which data sets are published."""

import io
import pickle
import struct
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from remanence.data import (
    Source,
    aan_source,
    cheetah_source,
    cifar_source,
    imdb_source,
    listops_source,
    mnist_source,
    pathfinder_source,
    text_source,
    ucr_source,
)
from remanence.data.irregular_source import build_source


@dataclass
class Published:
    """Files of a source; how to leave out a sample, and whether the number of samples is known."""

    source: Source
    files: dict[str, bytes]
    fewer: tuple[str, bytes | None] | None = None
    limits: dict[str, object] = field(default_factory=dict)
    joined: bool = False  # all files are read as one, so that none is twice there


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png():
    file = io.BytesIO()
    Image.new("L", (32, 32), 7).save(file, "PNG")
    return file.getvalue()


def idx(*shape):
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + bytes(int(np.prod(shape)))


def batch(rows):
    return pickle.dumps({b"data": np.zeros((rows, 3072), np.uint8), b"labels": [1] * rows}, 2)


def published():
    pair, expression = b"1\tA\tB\tone\ttwo\n", b"[MAX 1 2 ]\t2\n"
    series = b"@classLabel true up down\n@data\n1,2,3:up\n4,5,6:down\n"
    rows = [f"imgs/0 sample_{number}.png {number} {number % 2}\n" for number in range(3)]
    tree = "lra_release/pathfinder32/curv_contour_length_14"
    reviews = {
        f"aclImdb/{split}/{label}/{number}_7.txt": b"good"
        for split in ("train", "test")
        for label in imdb_source.LABELS
        for number in range(2)
    }
    traces = {
        f"cheetah/trace_{number:02}.npy": npy(np.zeros((4, 17), np.float32)) for number in range(cheetah_source.FILES)
    }
    images = {f"{tree}/imgs/0/sample_{number}.png": png() for number in range(3)}
    mnists = {f"m/{name}": idx(3, 28, 28) if "images" in name else idx(3) for name in mnist_source.CHECKSUMS}
    cifars = {f"c/{name}": batch(3) for name in cifar_source.CHECKSUMS}
    return {
        "aan": Published(
            aan_source.AAN,
            {f"tsv_data/{name}": 2 * pair for name in aan_source.FILES},
            ("tsv_data/new_aan_pairs.eval.tsv", pair),
            {"remanence.data.aan_source.SIZES": dict.fromkeys(aan_source.SIZES, 2)},
        ),
        "listops": Published(
            listops_source.LISTOPS,
            {f"listops-1000/{name}": 2 * expression for name in listops_source.FILES},
            ("listops-1000/basic_val.tsv", expression),
            {"remanence.data.listops_source.SIZES": dict.fromkeys(listops_source.SIZES, 2)},
        ),
        "imdb": Published(
            imdb_source.IMDB, reviews, ("aclImdb/train/pos/1_7.txt", None), {"remanence.data.imdb_source.REVIEWS": 2}
        ),
        "cheetah": Published(cheetah_source.CHEETAH, traces, ("cheetah/trace_03.npy", None)),
        "cifar": Published(
            cifar_source.CIFAR10, cifars, ("c/data_batch_2", batch(2)), {"remanence.data.cifar_source.ROWS": 3}
        ),
        "mnist": Published(
            mnist_source.MNIST,
            mnists,
            ("m/t10k-images-idx3-ubyte", idx(2, 28, 28)),
            {"remanence.data.mnist_source.ROWS": {"train": 3, "t10k": 3}},
        ),
        "pathfinder": Published(
            pathfinder_source.build_source(32, 14),
            {f"{tree}/metadata/0.npy": "".join(rows).encode(), **images},
            (f"{tree}/metadata/0.npy", "".join(rows[:2]).encode()),
            {"remanence.data.pathfinder_source.IMAGES": 3},
        ),
        "ucr": Published(
            ucr_source.build_source("Waves"), {f"Waves/Waves_{part}.ts": series for part in ("TRAIN", "TEST")}
        ),
        "irregular": Published(
            build_source("own"), {"t/own.csv": b"series,time,label,a\n1,0,x,1\n1,2,x,\n"}, joined=True
        ),
        "text": Published(text_source.build_source("own"), {"books/one.txt": b"once upon a time"}, joined=True),
    }
