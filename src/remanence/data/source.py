"""Sources of data: where they are published, and how they are converted to arrays."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from remanence.data.archive import Member, iter_members, unpack_gzip
from remanence.data.store import Progress, Store, Writer, find_folder, load, write_arrays
from remanence.errors import UserError


@dataclass(frozen=True)
class Source:
    """Data that their authors publish.

    Args:
        name: the name of the prepared arrays.
        title: what they are.
        publisher: where their authors publish them.
        wanted: what to download, as ``--from`` takes it.
        read: reads the file or folder at a path into arrays, and raises a ``ValueError`` that names what is wrong.
        settings: options of the command that say which data they are.
        checksums: MD5 of the (unpacked) files by name, where they are published.
    """

    name: str
    title: str
    publisher: str
    wanted: str
    read: Callable[["Source", Path, Writer, Progress], None]
    settings: str = ""
    checksums: dict[str, str] = field(default_factory=dict)

    def command(self, task: str) -> str:
        """Format the command with which a user prepares the data.

        Args:
            task: the task that needs them.
        """
        return f"remanence data {task} --from PATH {self.settings}".rstrip()


def prepare(source: Source, path: Path, *, verify: bool = True, progress: Progress = lambda done, total: None) -> Store:
    """Convert downloaded files to arrays, replacing those that may already be there.

    Args:
        source: what it is.
        path: the archive or the folder.
        verify: whether files have to be the published ones to the byte; their counts have to be right in any case.
        progress: told how far it is.

    Returns:
        The arrays.

    Raises:
        ValueError: something is missing, truncated or not what its authors publish; nothing is left behind.
    """
    if not path.exists():
        raise UserError(f"there is no {path}; for {source.title} get {source.wanted} from {source.publisher}")
    with write_arrays(source.name, replace=True) as writer:
        source.read(source if verify else replace(source, checksums={}), path, writer, progress)
        writer.facts.update({"from": path.name, "verified": verify and bool(source.checksums)})
    return Store(find_folder(source.name))


def load_prepared(source: Source, task: str) -> Store:
    """Load the prepared arrays of a source.

    Args:
        source: which data.
        task: the task that needs them, for the message.

    Returns:
        The arrays.

    Raises:
        ValueError: they are not there yet; the message says how to get them.
    """
    store = load(source.name)
    if store is None:
        raise UserError(
            f"{task} needs {source.title}, not prepared yet: get {source.wanted} from {source.publisher}, "
            f"then: {source.command(task)}"
        )
    return store


def iter_files(source: Source, path: Path, names: tuple[str, ...]) -> Iterator[tuple[str, Member]]:
    """Iterate over the files of these names; each must be read before the next one is requested.

    Args:
        source: whose files they are.
        path: a folder or an archive.
        names: without folders, and without ``.gz``.

    Raises:
        ValueError: a file is missing, or there in several folders, or the archive is damaged.
    """
    places: dict[str, str] = {}
    for member in iter_members(path):
        place = member.name.removesuffix(".gz")  # packed and unpacked, side by side, are the same
        name = PurePosixPath(place).name
        if name in names and name not in places:
            places[name] = place
            yield name, member
        elif name in names and places[name] != place:
            raise make_ambiguity_error(path, name, places[name], place)
    missing = [name for name in names if name not in places]
    if missing:
        raise make_missing_error(source, path, ", ".join(missing))


def iter_contents(source: Source, path: Path, names: tuple[str, ...], limit: int) -> Iterator[tuple[str, bytes]]:
    """Iterate over the complete contents of files, decompressed and verified; each has at most ``limit`` bytes.

    Raises:
        ValueError: a file is missing, damaged, or not the published one.
    """
    for name, member in iter_files(source, path, names):
        content = unpack_gzip(f"{path}: {member.name}", member.read(limit), limit)
        verify_checksum(source, name, content, path)
        yield name, content


def verify_checksum(source: Source, name: str, content: bytes, path: Path) -> None:
    """Raise a ``ValueError`` unless the file is the one that is published."""
    expected = source.checksums.get(name)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if expected not in (None, found):
        raise UserError(
            f"{path}: {name} is not the file that is published (MD5 {found} instead of {expected}): download it again "
            f"from {source.publisher}, or read it as it is with --unverified"
        )


def make_ambiguity_error(path: Path, what: str, *places: str) -> UserError:
    """Create the error for something that exists in several places."""
    return UserError(f"{path} has {what} in several places, {' and '.join(map(repr, places))}: give one of them")


def make_missing_error(source: Source, path: Path, what: str) -> UserError:
    """Create the error for something that is missing."""
    return UserError(f"{path} lacks {what}; for {source.title} get {source.wanted} from {source.publisher}")
