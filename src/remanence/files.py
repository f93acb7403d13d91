"""Atomic files: written beside their place, then moved into it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from remanence.errors import UserError

PART = ".part"
"""Ends the names of files that are being written."""


@contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of ``path`` only once it is complete and on disk.

    Raises:
        OSError: with the name of the file, which a full disk does not give by itself; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{PART}")
    try:
        with temporary.open("xb") as file:  # x: never what is there, nor what a link there leads to
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk, so that a renamed file keeps its new name after a power failure."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` so that a crash leaves the old file or the new one."""
    with replace_file(path) as file:
        file.write(text.encode())


def read_text(path: Path) -> str:
    """Read the text of a file.

    Raises:
        ValueError: it is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text, byte {error.start} cannot be read") from error
