"""The files in a folder or an archive, one after the other, without unpacking anything."""

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO, cast

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError)
LARGEST = 1 << 30  # bytes of one file
LONGEST_LINE = 1 << 26
CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file.

    Args:
        name: its path inside the folder or archive, with ``/`` between.
        archive: where it was found.
        open: opens it; of a member of an archive, before the next one is asked for.
    """

    name: str
    archive: Path
    open: Callable[[], IO[bytes]]

    def read(self, limit: int = LARGEST) -> bytes:
        """Its content.

        Raises:
            ValueError: it is longer than ``limit`` bytes, or its archive is damaged.
        """
        with naming(self.archive), self.open() as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"{self.archive}: {self.name} is longer than the {limit:,} bytes that were expected")
        return content

    def lines(self, limit: int = LONGEST_LINE) -> Iterator[bytes]:
        """Its lines, one at a time.

        Raises:
            ValueError: one is longer than ``limit`` bytes, or the archive is damaged.
        """
        with naming(self.archive), self.open() as file:
            for number, line in enumerate(iter(lambda: file.readline(limit + 1), b""), start=1):
                if len(line) > limit:
                    raise ValueError(f"{self.archive}: {self.name}, line {number} is longer than {limit:,} bytes")
                yield line


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what a truncated or wrong archive raises into an error that names it."""
    try:
        yield
    except DAMAGED as error:
        raise ValueError(f"{path} is truncated or damaged: {error}. Download it anew") from error


def members(path: Path) -> Iterator[Member]:
    """The files of a folder, of a tar or zip archive, or the one file that ``path`` is.

    Raises:
        ValueError: an archive that is damaged, or that holds links, devices or names that lead out of it.
    """
    if path.is_dir():
        yield from (
            Member(file.relative_to(path).as_posix(), path, lambda file=file: file.open("rb"))
            for file in sorted(path.rglob("*"))
            if file.is_file()
        )
        return
    with naming(path):
        if tarfile.is_tarfile(path):
            yield from tar_members(path)
        elif zipfile.is_zipfile(path):
            yield from zip_members(path)
        else:
            yield Member(path.name, path, lambda: path.open("rb"))


def tar_members(path: Path) -> Iterator[Member]:
    """The files of a tar archive, whatever its compression."""
    with tarfile.open(path, "r:*") as archive:
        for info in archive:
            inside(info.name, path)
            if not info.isfile() and not info.isdir():
                raise ValueError(f"{path}: {info.name!r} is a link or a device, which no data set needs")
            if info.isfile():
                opened = cast("IO[bytes]", archive.extractfile(info))
                yield Member(info.name.removeprefix("./"), path, lambda opened=opened: opened)
        while archive.fileobj is not None and archive.fileobj.read(CHUNK):  # the checksum comes last
            pass


def zip_members(path: Path) -> Iterator[Member]:
    """The files of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            inside(info.filename, path)
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                raise ValueError(f"{path}: {info.filename!r} is a link, which no data set needs")
            if not info.is_dir():
                yield Member(info.filename, path, lambda info=info: archive.open(info))


def inside(name: str, path: Path) -> None:
    """Raise a ``ValueError`` if a name leads out of its archive."""
    parts = PureWindowsPath(name).parts  # splits at both kinds of slashes, and knows drives
    if PureWindowsPath(name).anchor or ".." in parts:
        raise ValueError(f"{path}: the name {name!r} leads out of the archive")


def unpacked(name: str, content: bytes, limit: int = LARGEST) -> bytes:
    """The content of a gzip file, or of one that is unpacked already.

    Raises:
        ValueError: it is damaged, or longer than ``limit`` bytes.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    decompressor = zlib.decompressobj(wbits=31)
    try:
        plain = decompressor.decompress(content, limit + 1)
    except zlib.error as error:
        raise ValueError(f"{name} is damaged: {error}. Download it anew") from error
    if len(plain) > limit:
        raise ValueError(f"{name} unpacks to more than the {limit:,} bytes that were expected")
    if not decompressor.eof:
        raise ValueError(f"{name} is truncated. Download it anew")
    return plain
