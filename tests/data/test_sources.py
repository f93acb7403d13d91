"""What all readers of published files do alike, on small files in the published formats."""

import io
import pickle
import re
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remanence.data import Source, aan, cheetah, cifar, imdb, listops, mnist, pathfinder, prepare, text, ucr
from remanence.data.irregular import table

LITTER = b"\0\x05\x16\x07\0\2\0\0Mac OS X"  # how an AppleDouble file begins


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
        for label in imdb.LABELS
        for number in range(2)
    }
    traces = {f"cheetah/trace_{number:02}.npy": npy(np.zeros((4, 17), np.float32)) for number in range(cheetah.FILES)}
    images = {f"{tree}/imgs/0/sample_{number}.png": png() for number in range(3)}
    mnists = {f"m/{name}": idx(3, 28, 28) if "images" in name else idx(3) for name in mnist.CHECKSUMS}
    cifars = {f"c/{name}": batch(3) for name in cifar.CHECKSUMS}
    return {
        "aan": Published(
            aan.AAN,
            {f"tsv_data/{name}": 2 * pair for name in aan.FILES},
            ("tsv_data/new_aan_pairs.eval.tsv", pair),
            {"remanence.data.aan.SIZES": dict.fromkeys(aan.SIZES, 2)},
        ),
        "listops": Published(
            listops.LISTOPS,
            {f"listops-1000/{name}": 2 * expression for name in listops.FILES},
            ("listops-1000/basic_val.tsv", expression),
            {"remanence.data.listops.SIZES": dict.fromkeys(listops.SIZES, 2)},
        ),
        "imdb": Published(imdb.IMDB, reviews, ("aclImdb/train/pos/1_7.txt", None), {"remanence.data.imdb.REVIEWS": 2}),
        "cheetah": Published(cheetah.CHEETAH, traces, ("cheetah/trace_03.npy", None)),
        "cifar": Published(cifar.CIFAR10, cifars, ("c/data_batch_2", batch(2)), {"remanence.data.cifar.ROWS": 3}),
        "mnist": Published(
            mnist.MNIST,
            mnists,
            ("m/t10k-images-idx3-ubyte", idx(2, 28, 28)),
            {"remanence.data.mnist.ROWS": {"train": 3, "t10k": 3}},
        ),
        "pathfinder": Published(
            pathfinder.released_images(32, 14),
            {f"{tree}/metadata/0.npy": "".join(rows).encode(), **images},
            (f"{tree}/metadata/0.npy", "".join(rows[:2]).encode()),
            {"remanence.data.pathfinder.IMAGES": 3},
        ),
        "ucr": Published(ucr.problem("Waves"), {f"Waves/Waves_{part}.ts": series for part in ("TRAIN", "TEST")}),
        "irregular": Published(table("own"), {"t/own.csv": b"series,time,label,a\n1,0,x,1\n1,2,x,\n"}, joined=True),
        "text": Published(text.text_file("own"), {"books/one.txt": b"once upon a time"}, joined=True),
    }


NAMES = sorted(published())
COUNTED = [name for name, each in published().items() if each.fewer]
ALONE = [name for name, each in published().items() if not each.joined]


@pytest.fixture
def small(monkeypatch):
    """A source and its files, of which it expects as few as there are."""

    def chosen(name):
        found = published()[name]
        for place, limit in found.limits.items():
            monkeypatch.setattr(place, limit)
        return found

    return chosen


@pytest.fixture
def packed(tmp_path, make_tar):
    """The files as a folder or an archive."""

    def pack(files, kind):
        if kind == "tar":
            return make_tar(files)
        path = tmp_path / ("files.zip" if kind == "zip" else "files")
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
        else:
            for name, content in files.items():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).write_bytes(content)
        return path

    return pack


def arrays(store):
    return {file.name: file.read_bytes() for file in store.folder.iterdir() if file.suffix != ".json"}


def test_every_reader_is_looked_at():
    helpers = {"__init__", "archive", "npy", "pickles", "source", "store"}
    assert {path.stem for path in Path(imdb.__file__).parent.glob("*.py")} - helpers == {*NAMES}


@pytest.mark.parametrize("kind", ["zip", "tar", "folder"])
@pytest.mark.parametrize("name", NAMES)
def test_what_a_mac_adds_changes_nothing(small, packed, name, kind):
    found = small(name)
    litter = {}
    for place in found.files:
        folder, _, file = place.rpartition("/")
        litter |= {f"__MACOSX/{folder}/._{file}": LITTER, f"{folder}/._{file}": LITTER, f"{folder}/.DS_Store": LITTER}
    expected = arrays(prepare(found.source, packed(found.files, "tar"), verify=False))
    store = prepare(found.source, packed({**litter, **found.files}, kind), verify=False)
    assert arrays(store) == expected


@pytest.mark.parametrize("name", COUNTED)
def test_a_part_of_what_is_published_is_refused(small, packed, name):
    found = small(name)
    place, content = found.fewer
    files = {key: value for key, value in {**found.files, place: content}.items() if value is not None}
    with pytest.raises(ValueError, match=r"should hold|should name|instead of|lacks"):
        prepare(found.source, packed(files, "folder"), verify=False)


@pytest.mark.parametrize("kind", ["zip", "tar", "folder"])
@pytest.mark.parametrize("name", ALONE)
def test_files_of_two_copies_are_not_mixed(small, packed, name, kind):
    """The second lies beside the first, and one of the two would win by the order of names."""
    found = small(name)
    copies = {f"{copy}/{place}": content for copy in ("a", "b") for place, content in found.files.items()}
    with pytest.raises(ValueError, match=r"in several places, '/?a/.*' and '/?b/.*': give one of them$") as error:
        prepare(found.source, packed(copies, kind), verify=False)
    first, second = re.findall(r"'/?([ab])/([^']*)'", str(error.value))
    assert first[1] == second[1]


def test_packed_and_unpacked_side_by_side_are_one(small, packed):
    found = small("mnist")
    beside = {f"{place}.gz": content for place, content in found.files.items()}
    prepare(found.source, packed({**found.files, **beside}, "folder"), verify=False)
