"""Folders and files that only their user can have written."""

import os
import stat
from contextlib import suppress
from pathlib import Path

_HAS_OWNERS = hasattr(os, "geteuid")  # on Windows owner and mode of a file say nothing
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# Nonblocking: a pipe in the place of a file would let us wait for ever.
_READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


class NotPrivateError(OSError):
    """Somebody else can write there; says where, and what to do."""


def make(folder: Path) -> None:
    """Make a folder and what is missing above it, of this user alone whatever the umask."""
    for place in reversed([folder, *folder.parents]):
        if not place.exists():
            with suppress(FileExistsError):  # another process was quicker
                place.mkdir(mode=0o700)


def tighten(folder: Path) -> None:
    """Take from others what the umask gave them when the folder was made; what is not this user's stays as it is."""
    if not _HAS_OWNERS:
        return
    handle = os.open(folder, _READ | os.O_DIRECTORY)
    try:
        facts = os.fstat(handle)
        if facts.st_uid == os.geteuid() and facts.st_mode & 0o077:
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)


def check(folder: Path) -> None:
    """Make sure that only this user can put files into a folder, or replace it.

    Raises:
        NotPrivateError: somebody can.
        OSError: it is not there, or cannot be looked at.
    """
    facts = os.lstat(folder)
    if not stat.S_ISDIR(facts.st_mode):
        raise NotPrivateError(f"{folder} is not a folder itself, but a file or a symbolic link")
    _check_owner(facts, folder)
    for above in folder.resolve().parents:
        _check_above(above)


def read(path: Path) -> bytes:
    """Read a file of this user that nobody else can write; symbolic links are not followed.

    Raises:
        NotPrivateError: it belongs to another user, or others can write it.
        OSError: it is not there, or cannot be read.
    """
    with open(os.open(path, _READ), "rb") as file:
        facts = os.fstat(file.fileno())  # of the very file that is read
        if not stat.S_ISREG(facts.st_mode):
            raise NotPrivateError(f"{path} is not a file")
        _check_owner(facts, path)
        return file.read()


def _check_owner(facts: os.stat_result, path: Path) -> None:
    if not _HAS_OWNERS:
        return
    if facts.st_uid != os.geteuid():
        raise NotPrivateError(f"{path} belongs to another user")
    if facts.st_mode & _OTHERS:
        raise NotPrivateError(f"{path} can be written by others: chmod go-w {path}")


def _check_above(folder: Path) -> None:
    mode = folder.stat().st_mode
    sticky = mode & stat.S_ISVTX  # as /tmp is: users can rename only their own files there
    if _HAS_OWNERS and mode & stat.S_IWOTH and not sticky:
        raise NotPrivateError(f"{folder}, which it lies in, can be written by everybody: chmod o-w {folder}")
