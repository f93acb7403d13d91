"""Compiled kernels on disk: machine code, so read from nobody else's folder and nobody else's file."""

import functools
import hashlib
import importlib.metadata
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_DIGEST = 32
_OBJECTS = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\x64\x86", b"\x64\xaa")  # ELF; Mach-O; COFF of x86-64 and of ARM64
_ATTENDED = os.name == "posix"  # elsewhere a file's owner and mode say nothing


def directory() -> Path | None:
    """``REMANENCE_CACHE_DIR``, else ``remanence`` in the user's cache directory; None if the user has no home."""
    if chosen := os.environ.get("REMANENCE_CACHE_DIR"):
        return Path(chosen)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification: such a path is to be ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "remanence"


def load(parts: Sequence[str]) -> bytes | None:
    """What was saved for these parts; None if nothing was, if it is damaged, or if others could have written it."""
    name, key = _name(parts)
    with suppress(OSError), _folder(make=False) as folder:
        if folder is None:
            return None
        content = _read(name, folder)
        digest, code = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(key + code).digest() == digest and code.startswith(_OBJECTS):
            return code
    return None


def save(parts: Sequence[str], code: bytes) -> None:
    """Keep code for the next process; where the directory cannot be written it is silently not kept."""
    name, key = _name(parts)
    with suppress(OSError), _folder(make=True) as folder:
        place = directory()
        if folder is None or place is None:
            return
        handle, temporary = tempfile.mkstemp(dir=place, prefix=name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(key + code).digest() + code)
            os.replace(temporary, place / name)
        except BaseException:
            os.unlink(temporary)
            raise


@contextmanager
def _folder(*, make: bool) -> Iterator[int | None]:
    """A descriptor of the folder, so that what was checked is what is read; None if it is not to be trusted."""
    place = directory()
    if place is None or not _ATTENDED:
        if place is not None and make:
            place.mkdir(parents=True, exist_ok=True)
        yield None if place is None else -1
        return
    if make and not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # by another process, meanwhile
            place.mkdir(mode=0o700)
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if make and "REMANENCE_CACHE_DIR" not in os.environ and os.fstat(folder).st_uid == os.geteuid():
            os.fchmod(folder, 0o700)  # earlier versions made it as the umask had it
        yield folder if _is_ours(os.fstat(folder), str(place)) else None
    finally:
        os.close(folder)


def _read(name: str, folder: int) -> bytes:
    if folder < 0:
        return (directory() or Path()).joinpath(name).read_bytes()
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        return file.read() if stat.S_ISREG(facts.st_mode) and _is_ours(facts, name) else b""


def _is_ours(facts: os.stat_result, name: str) -> bool:
    if facts.st_uid == os.geteuid() and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return True
    _say_once(name)
    return False


@functools.cache
def _say_once(name: str) -> None:
    warnings.warn(
        f"compiled kernels are not taken from {name}: it belongs to another user, or others can write it. Make it "
        "yours (chmod go-w), or set REMANENCE_CACHE_DIR to a folder of your own",
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
    return (*(importlib.metadata.version(name) for name in ("numba", "llvmlite")), *texts)
