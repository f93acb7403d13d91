"""What all readers of published files do alike, on small files in the published formats."""

import re
import zipfile
from pathlib import Path

import pytest
from published import published

from remanence.data import imdb_source, prepare

LITTER = b"\0\x05\x16\x07\0\2\0\0Mac OS X"  # how an AppleDouble file begins


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
    stems = {path.stem for path in Path(imdb_source.__file__).parent.glob("*.py")}
    assert {stem.removesuffix("_source") for stem in stems - helpers} == {*NAMES}


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


@pytest.mark.parametrize("name", ["aan", "listops"])
def test_more_than_what_is_published_is_refused(small, packed, name):
    found = small(name)
    place, line = found.fewer
    with pytest.raises(ValueError, match=r"should hold 2 .* it holds 3"):
        prepare(found.source, packed({**found.files, place: 3 * line}, "folder"), verify=False)


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
