"""Iteration over the files in a folder or an archive, without unpacking it to disk."""

import errno
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from remanence.errors import UserError

DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a zip file that wants a way of packing that Python does not know
)
EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
LONGEST_NAME = 1 << 16  # bytes
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
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
        """Read its content.

        Raises:
            ValueError: it is longer than ``limit`` bytes, or its archive is damaged.
        """
        pieces, length = [], 0
        with translate_errors(self.archive), self.open() as file:
            # Piece by piece: a file makes room for all that it is asked for, however short it is.
            while length <= limit and (piece := file.read(CHUNK)):
                pieces.append(piece)
                length += len(piece)
        if length > limit:
            raise UserError(f"{self.archive}: {self.name} is longer than the {limit:,} bytes that were expected")
        return b"".join(pieces)

    def lines(self, limit: int = LONGEST_LINE) -> Iterator[bytes]:
        """Yield its lines.

        Raises:
            ValueError: one is longer than ``limit`` bytes, or the archive is damaged.
        """
        with translate_errors(self.archive), self.open() as file:
            for number, line in enumerate(iter(lambda: file.readline(limit + 1), b""), start=1):
                if len(line) > limit:
                    raise UserError(f"{self.archive}: {self.name}, line {number} is longer than {limit:,} bytes")
                yield line


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn what a truncated or wrong archive raises into an error that names it."""
    try:
        yield
    except (*DAMAGED, OSError) as error:
        # Of the errors of the system, that a place in a file is impossible: its table of contents has led there.
        if isinstance(error, OSError) and not isinstance(error, DAMAGED) and error.errno != errno.EINVAL:
            raise
        raise UserError(f"{path} is truncated or damaged: {error}. Download it again") from error


def iter_members(path: Path) -> Iterator[Member]:
    """Iterate over the files of a folder or of a tar or zip archive, or over the one file at ``path``.

    What systems add by themselves (``__MACOSX``, ``._name``, ``.DS_Store``, ``Thumbs.db``) is left out.

    Raises:
        ValueError: an archive that is damaged, or that holds links, devices or names that lead out of it.
    """
    with translate_errors(path):
        if path.is_dir():
            found = iter_folder(path)
        elif is_tar(path):
            found = iter_tar(path)
        elif zipfile.is_zipfile(path):
            found = iter_zip(path)
        else:
            yield Member(path.name, path, lambda: path.open("rb"))
            return
        yield from (member for member in found if not is_litter(member.name))


def is_litter(name: str) -> bool:
    """Whether a file is one that no author meant to publish."""
    parts = PurePosixPath(name).parts or ("",)
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] in LITTER


def iter_folder(path: Path) -> Iterator[Member]:
    """Iterate over the files of a folder."""
    for file in sorted(path.rglob("*")):
        if file.is_file():
            yield Member(file.relative_to(path).as_posix(), path, lambda file=file: file.open("rb"))


def is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, whatever its compression."""
    try:
        tarfile.open(path, "r:*", tarinfo=BoundedInfo).close()
    except tarfile.TarError:
        return False
    return True


def iter_tar(path: Path) -> Iterator[Member]:
    """Iterate over the files of a tar archive, whatever its compression."""
    with tarfile.open(path, "r:*", tarinfo=BoundedInfo) as archive:
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined] (else the names of all that was read stay in memory)
            check_name(info.name, path)
            if not info.isfile() and not info.isdir():
                raise UserError(f"{path}: {info.name!r} is a link or a device, which data sets do not need")
            if info.isfile():
                opened = cast("IO[bytes]", archive.extractfile(info))
                yield Member(info.name.removeprefix("./"), path, lambda opened=opened: opened)
        while archive.fileobj is not None and archive.fileobj.read(CHUNK):  # the checksum comes last
            pass


class BoundedInfo(tarfile.TarInfo):
    """A header whose name is no longer than any system's."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in EXTENSIONS and self.size > LONGEST_NAME:
            raise UserError(f"{tarfile_.name} has a name or comment of {self.size:,} bytes")
        return super()._proc_member(tarfile_)  # type: ignore[misc]


def iter_zip(path: Path) -> Iterator[Member]:
    """Iterate over the files of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            check_name(info.filename, path)
            if info.flag_bits & 1:
                raise UserError(f"{path}: {info.filename!r} is encrypted: unpack it, and give the folder")
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                raise UserError(f"{path}: {info.filename!r} is a link, which data sets do not need")
            if not info.is_dir():
                yield Member(info.filename, path, lambda info=info: archive.open(info))


def check_name(name: str, path: Path) -> None:
    """Raise a ``ValueError`` if there is no name, or one that leads out of its archive."""
    parts = PureWindowsPath(name).parts  # splits at both kinds of slashes, and knows drives
    if not parts and name not in (".", "./"):
        raise UserError(f"{path}: a file in it has no name")
    if PureWindowsPath(name).anchor or ".." in parts:
        raise UserError(f"{path}: the name {name!r} points outside the archive")


def unpack_gzip(name: str, content: bytes, limit: int = LARGEST) -> bytes:
    """Decompress the content of a gzip file; other content is returned as it is.

    Raises:
        ValueError: it is damaged, or longer than ``limit`` bytes.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    decompressor = zlib.decompressobj(wbits=31)
    try:
        plain = decompressor.decompress(content, limit + 1)
    except zlib.error as error:
        raise UserError(f"{name} is damaged: {error}. Download it again") from error
    if len(plain) > limit:
        raise UserError(f"{name} unpacks to more than the {limit:,} bytes that were expected")
    if not decompressor.eof:
        raise UserError(f"{name} is truncated. Download it again")
    return plain
