"""Compilation of generators that draw samples one after the other, with a cache for the next process."""

import functools
import hashlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numba.core.config
from numba.core.caching import FunctionCache

from remanence import caches, private


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function with Numba, without type-checking wrappers around it; threads may share the result."""
    plain, folder = inspect.unwrap(function), _folder()
    dispatcher: Any = numba.njit(plain, nogil=True)
    if folder is not None:
        settings: Any = numba.core.config
        before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)  # read while the cache is made
        try:
            dispatcher._cache = _Cache(plain)
        finally:
            settings.CACHE_DIR = before
    return dispatcher


class _Cache(FunctionCache):
    """Numba's cache, except that a function is compiled again if its file is damaged."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the cached machine code, or None."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged pickle may raise any exception
            self.flush()
            return None


@functools.cache
def _folder() -> Path | None:
    """Return the folder for machine code of these files; None if other users can write to it, or this user cannot.

    Numba checks only the file of a function, not the functions that it calls; therefore the name of the folder depends
    on the content of all files.
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
    return folder if os.access(folder, os.W_OK) else None
