"""Generators whose samples come one after another are compiled, and kept compiled for the next process."""

import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numba.core.config

from remanence import caches, private


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function, without what may have been wrapped around it to check its types; threads may share it."""
    plain, folder = inspect.unwrap(function), _folder()
    if folder is None:
        return numba.njit(plain, nogil=True)
    settings: Any = numba.core.config
    before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)  # read while a function is decorated
    try:
        return numba.njit(nogil=True, cache=True)(plain)
    finally:
        settings.CACHE_DIR = before


@functools.cache
def _folder() -> Path | None:
    """Where machine code is kept that was made of these files; None if others could write there.

    Numba looks at the file of a function alone, not at what it calls: the folder is another one when any file is.
    """
    place = caches.directory()
    if place is None:
        return None
    texts = (path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    digest = hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]
    folder = place / f"tasks-{digest}"
    try:
        private.make(folder)
        private.check(folder)
    except OSError:
        return None
    return folder
