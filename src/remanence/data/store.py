"""Prepared arrays on disk: written in pieces, published atomically, memory-mapped when read."""

import contextlib
import glob
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from remanence import caches, locks, private
from remanence.errors import UserError
from remanence.files import write_text

FORMAT = 1
MANIFEST = "manifest.json"


Progress: TypeAlias = Callable[[int, int], None]
"""Called with what is done and what there is in all, in whatever is counted."""

_watcher: ContextVar[Progress] = ContextVar("watcher", default=lambda done, total: None)


@contextmanager
def report_progress(progress: Progress) -> Iterator[None]:
    """Report the progress of data that is generated inside the context (:func:`load_or_make`).

    Args:
        progress: a function that is called with the amount done and the total.

    Returns:
        A context manager.
    """
    token = _watcher.set(progress)
    try:
        yield
    finally:
        _watcher.reset(token)


class Writer:
    """Writes arrays piece by piece, so that none of them has to fit into memory.

    Args:
        folder: the folder that gets a file for each array.
    """

    def __init__(self, folder: Path):
        self.progress = _watcher.get()
        self.facts: dict[str, Any] = {}
        self._folder = folder
        self._arrays: dict[str, dict[str, Any]] = {}
        self._files: dict[str, IO[bytes]] = {}

    def append(self, name: str, rows: np.ndarray) -> None:
        """Append rows to an array.

        Args:
            name: the name of the array; created by the first call.
            rows: the rows, of the same dtype and row shape as those before.

        Raises:
            ValueError: rows of another dtype or shape.
        """
        rows = np.ascontiguousarray(rows)
        if name not in self._arrays:
            self._arrays[name] = {"dtype": rows.dtype.str, "shape": [0, *rows.shape[1:]]}
            self._files[name] = (self._folder / name).open("wb")
        array = self._arrays[name]
        if rows.dtype.str != array["dtype"] or list(rows.shape[1:]) != array["shape"][1:]:
            raise UserError(f"{name} has rows of {array}, got {rows.dtype.str} {list(rows.shape)}")
        array["shape"][0] += len(rows)
        self._files[name].write(rows.data if rows.size else b"")

    def count(self, name: str) -> int:
        """Return the number of rows written so far.

        Args:
            name: the name of the array.
        """
        return self._arrays[name]["shape"][0] if name in self._arrays else 0

    def finish(self) -> None:
        """Close the files and write what is in them."""
        self.close()
        content = {"format": FORMAT, "facts": self.facts, "arrays": self._arrays}
        write_text(self._folder / MANIFEST, json.dumps(content, indent=1))

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


class Store:
    """Prepared arrays.

    Args:
        folder: where they lie.

    Raises:
        ValueError: a file is missing or has another size than was written.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise ValueError
            self.facts: dict[str, Any] = manifest["facts"]
            self._arrays = {name: (np.dtype(a["dtype"]), tuple(a["shape"])) for name, a in manifest["arrays"].items()}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder} is damaged or of another version: remove it and prepare it again") from error
        for name, (dtype, shape) in self._arrays.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != dtype.itemsize * int(np.prod(shape)):
                raise UserError(f"{path} is damaged: remove the folder {folder} and prepare it again")

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> np.ndarray:
        dtype, shape = self._arrays[name]
        if 0 in shape:
            return np.empty(shape, dtype)
        # "c": torch wants arrays that could be written; what is written never reaches the disk.
        return np.memmap(self.folder / name, dtype, "c", shape=shape)


def directory() -> Path:
    """Return the folder of prepared data.

    Returns:
        ``REMANENCE_DATA_DIR`` if it is set, else ``data`` in :func:`remanence.caches.directory`.

    Raises:
        ValueError: there is no home directory.
    """
    if chosen := os.environ.get("REMANENCE_DATA_DIR"):
        return Path(chosen)
    kept = caches.directory()
    if kept is None:
        raise UserError("there is no home directory to keep data in: set REMANENCE_DATA_DIR")
    return kept / "data"


def _make_folder(folder: Path) -> None:
    """Make the folder: as the umask has it where the user chose it, else private, for machine code lies there too."""
    if os.environ.get("REMANENCE_DATA_DIR"):
        folder.mkdir(parents=True, exist_ok=True)
    else:
        private.make(folder)


def find_folder(name: str) -> Path:
    """Return the folder of the arrays of that name.

    Raises:
        ValueError: the name would lead elsewhere.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UserError(f"a name may contain letters, digits, -, _ and . only, got {name!r}")
    return directory() / name


def load(name: str) -> Store | None:
    """Load prepared arrays.

    Args:
        name: under which they were prepared.

    Returns:
        The arrays; None if there are none.

    Raises:
        ValueError: the name is not a valid folder name, or the arrays are damaged.
    """
    folder = find_folder(name)
    return Store(folder) if folder.exists() else None


def load_or_make(name: str, make: Callable[[Writer], None]) -> Store:
    """Load arrays, or make them first if they are not there yet.

    Args:
        name: under which they are stored.
        make: writes them; called in one process only.

    Returns:
        The arrays.
    """
    store = load(name)
    if store is not None:
        return store
    with hold_lock(name):
        store = load(name)
        if store is not None:  # another process was quicker
            return store
        with write_arrays(name) as writer:
            make(writer)
    return Store(find_folder(name))


@contextmanager
def hold_lock(name: str) -> Iterator[None]:
    """Wait until no other process makes the arrays of that name."""
    path = find_folder(name).with_name(f".{name}.lock")
    _make_folder(path.parent)
    with locks.wait_for_lock(path):
        yield


@contextmanager
def write_arrays(name: str, *, replace: bool = False) -> Iterator[Writer]:
    """Write arrays that appear under ``name`` once they are whole; after an error or a crash nothing is there.

    Raises:
        OSError: with the name of the folder, which a full disk does not give by itself.
    """
    place = find_folder(name)
    _make_folder(place.parent)
    remove_abandoned(place.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}@{platform.node()}.", suffix=".part", dir=place.parent))
    old = temporary.with_suffix(".old.part")
    writer = Writer(temporary)
    try:
        yield writer
        writer.finish()
        if replace and place.exists():
            _rename_used(place, old)
        with contextlib.suppress(FileExistsError):
            move(temporary, place)
    except OSError as error:
        error.filename = error.filename or str(place)
        raise
    finally:
        writer.close()
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _rename_used(place: Path, old: Path) -> None:
    """Rename a folder of arrays that may be mapped into memory, here or by another process.

    Raises:
        PermissionError: Windows does not rename what is mapped; the folder stays as it is.
    """
    try:
        place.rename(old)
    except PermissionError as error:
        if getattr(error, "winerror", None) is None:  # elsewhere it is what it says
            raise
        what = "its arrays are in use and cannot be replaced on this system: close the programs that read them"
        raise PermissionError(error.errno, what, str(place)) from error


def move(folder: Path, place: Path) -> None:
    """Rename a folder.

    Raises:
        FileExistsError: another process was quicker.
    """
    try:
        folder.rename(place)
    except OSError as error:
        if place.exists():
            raise FileExistsError(place) from error
        raise


def remove_abandoned(folder: Path) -> None:
    """Remove files of processes of this machine that were killed while writing."""
    for part in folder.glob(f".*@{glob.escape(platform.node())}.*.part"):
        process = part.name[1:].partition("@")[0]
        if process.isdigit() and not is_alive(int(process)):
            shutil.rmtree(part, ignore_errors=True)


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs; on Windows, where asking would interrupt it, it is taken to."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
