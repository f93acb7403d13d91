"""Compiled kernels on disk."""

import functools
import hashlib
import importlib.metadata
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

_DIGEST = 32


def directory() -> Path:
    """``REMANENCE_CACHE_DIR``, else ``remanence`` in the user's cache directory."""
    if chosen := os.environ.get("REMANENCE_CACHE_DIR"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "remanence"


def load(parts: Sequence[str]) -> bytes | None:
    """What was saved for these parts; None if nothing was, or if it is damaged."""
    try:
        content = _path(parts).read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST], content[_DIGEST:]
    return code if code and hashlib.sha256(code).digest() == digest else None


def save(parts: Sequence[str], code: bytes) -> None:
    """Keep code for the next process; where the directory cannot be written it is silently not kept."""
    path = _path(parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError:
        return


def _path(parts: Sequence[str]) -> Path:
    key = hashlib.sha256()
    for part in (*_versions(), *parts):
        key.update(hashlib.sha256(part.encode()).digest())
    return directory() / f"{key.hexdigest()[:40]}.o"


@functools.cache
def _versions() -> tuple[str, ...]:
    """Of the compilers, and of our own code that they run."""
    ours = ("elementary.py", "gather.py", "kernel.py", "lanes.py", "numba_lowering.py", "targets.py", "vector.py")
    texts = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ours)
    return (*(importlib.metadata.version(name) for name in ("numba", "llvmlite")), *texts)
