"""Compiled kernels on disk: machine code, so read from nobody else's folder and nobody else's file."""

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
    """What was saved for these parts; None if nothing was, if it is damaged, or if others could have written it."""
    name, key = _name(parts)
    with _told():
        folder = _checked()
        if folder is None:
            return None
        content = private.read(folder / name)
        digest, code = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(key + code).digest() == digest and object_file.is_whole(code):
            return code
    return None


def save(parts: Sequence[str], code: bytes) -> None:
    """Keep code for the next process, if there is a folder for it that can be written, and by nobody else."""
    name, key = _name(parts)
    with _told():
        place = caches.directory()
        if place is not None:
            private.make(place)
        folder = _checked()
        if folder is not None:
            _write(folder / name, hashlib.sha256(key + code).digest() + code)


def _checked() -> Path | None:
    """The folder, which nobody else can write; a folder that the user chose is left as the user made it."""
    folder = caches.directory()
    if folder is None:
        return None
    if caches.chosen_directory() is None:
        with suppress(OSError):  # then the check says why
            private.tighten(folder)
    private.check(folder)
    return folder


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def _told() -> Iterator[None]:
    """Do without where the folder does not serve, and say so once where others meddle, or the user chose it."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        if isinstance(error, private.NotPrivateError) or caches.chosen_directory() is not None:
            _warn(str(error))


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(
        f"compiled kernels are not kept, and compiled again by every process: {reason}. Mend that, or set "
        "REMANENCE_CACHE_DIR to a folder that only you can write",
        stacklevel=2,
    )


def _name(parts: Sequence[str]) -> tuple[str, bytes]:
    """Of the file, and what the digest in it is also of: the code of another kernel is not that of this one."""
    key = hashlib.sha256()
    for part in (*_versions(), *parts):
        key.update(hashlib.sha256(part.encode()).digest())
    return f"{key.hexdigest()[:40]}.o", key.digest()


@functools.cache
def _versions() -> tuple[str, ...]:
    """Of the compilers, and of our own code that they run: all of it that stands here."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py")))
    return (importlib.metadata.version("llvmlite"), *texts)
