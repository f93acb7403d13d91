"""A lock on a folder that ends with its process, also across containers."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from remanence.errors import RunError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
PAUSE = 0.1  # seconds between two attempts, if the system cannot wake a waiting process


class Lock:
    """A folder that this process holds.

    Args:
        file: descriptor of the lock's file.
        path: the path of the lock's file.
    """

    def __init__(self, file: int, path: Path):
        self._file = file
        self._path = path

    def check(self) -> None:
        """Make sure that the folder is still there and still ours.

        Raises:
            RunError: it is not.
        """
        try:
            there = os.path.samestat(os.fstat(self._file), os.stat(self._path))
        except FileNotFoundError:
            there = False
        if not there:
            raise RunError(f"{self._path.parent} was removed during its run: nothing more is written there")


@contextmanager
def lock_folder(folder: Path) -> Iterator[Lock]:
    """Hold a folder for this process; made if it is not there, and gone afterwards if it is empty then.

    Raises:
        RunError: another process holds it.
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    file = acquire(path)
    try:
        os.truncate(file, 0)
        os.write(file, f"process {os.getpid()} on {platform.node()}".encode())
        yield Lock(file, path)
    finally:
        release(file, path)
        with suppress(OSError):  # not empty, or removed meanwhile
            folder.rmdir()


@contextmanager
def wait_for_lock(path: Path) -> Iterator[None]:
    """Hold the lock whose file is at a path, once no other process does."""
    file = acquire(path, wait=True)
    try:
        yield
    finally:
        release(file, path)


def acquire(path: Path, *, wait: bool = False) -> int:
    """Open and lock the lock's file.

    Raises:
        RunError: another process has it, and this one does not wait.
    """
    while True:
        # O_NOFOLLOW: a link that somebody put there must not make us write elsewhere.
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _lock(file, wait)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except FileNotFoundError:
            pass  # its holder removed it between the two calls
        except (BlockingIOError, PermissionError) as error:
            if wait:
                os.close(file)
                time.sleep(PAUSE)
                continue
            holder = os.read(file, 200).decode("utf-8", "replace") or "another process"
            os.close(file)
            raise RunError(
                f"{path.parent} is being trained by {holder}: wait for it, or choose another folder"
            ) from error
        os.close(file)


def _lock(file: int, wait: bool) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    else:
        import msvcrt

        os.lseek(file, 1000, os.SEEK_SET)  # beyond what others read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        finally:
            os.lseek(file, 0, os.SEEK_SET)


def release(file: int, path: Path) -> None:
    """Remove the lock's file and let go of it."""
    if fcntl is None:
        os.close(file)  # an open file cannot be removed there
        with suppress(OSError):
            path.unlink()
        return
    with suppress(OSError):
        if os.path.samestat(os.fstat(file), os.stat(path)):
            path.unlink()  # while it is ours: the next one makes its own
    os.close(file)
