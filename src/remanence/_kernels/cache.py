"""A cache of compiled kernels on disk.

It contains machine code, so it is only read from folders and files that no other user can write.
"""

import functools
import hashlib
import importlib.metadata
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from remanence import caches, private
from remanence._kernels import object_file

_DIGEST = 32


def load(parts: Sequence[str]) -> bytes | None:
    """Return the code that was saved under these parts of a key.

    Returns:
        None if nothing was saved, if the file is damaged, or if another user could have written it.
    """
    name, key = _make_key(parts)
    with _report_failures():
        folder = _check_folder()
        if folder is None:
            return None
        content = private.read(folder / name)
        digest, code = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(key + code).digest() == digest and object_file.is_whole(code):
            return code
    return None


def save(parts: Sequence[str], code: bytes) -> None:
    """Save code for other processes, if there is a cache folder that this user, and nobody else, can write."""
    name, key = _make_key(parts)
    with _report_failures():
        place = caches.directory()
        if place is not None:
            private.make(place)
        folder = _check_folder()
        if folder is not None:
            _write_file(folder / name, hashlib.sha256(key + code).digest() + code)


def _check_folder() -> Path | None:
    """Return the cache folder after checking that nobody else can write it.

    The permissions of the default folder are tightened first; those of a configured folder are left alone.
    """
    folder = caches.directory()
    if folder is None:
        return None
    if caches.get_configured_directory() is None:
        with suppress(OSError):  # the check below reports why
            private.tighten(folder)
    private.check(folder)
    return folder


def _write_file(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def _report_failures() -> Iterator[None]:
    """Ignore a cache folder that cannot be used; warn once if others can write it or the user configured it."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        if isinstance(error, private.NotPrivateError) or caches.get_configured_directory() is not None:
            _warn(str(error))


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(
        f"compiled kernels are not cached, so every process compiles them again: {reason}. Fix that, or set "
        "REMANENCE_CACHE_DIR to a folder that only you can write",
        stacklevel=2,
    )


def _make_key(parts: Sequence[str]) -> tuple[str, bytes]:
    """Return the name of the file, and the key that is also part of the digest inside it.

    A file that was renamed to that of another kernel therefore fails the check of its digest.
    """
    key = hashlib.sha256()
    for part in (*_read_versions(), *parts):
        key.update(hashlib.sha256(part.encode()).digest())
    return f"{key.hexdigest()[:40]}.o", key.digest()


@functools.cache
def _read_versions() -> tuple[str, ...]:
    """Return the versions of the compiler and the text of all modules in this package, which generate code."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py")))
    return (importlib.metadata.version("llvmlite"), *texts)
