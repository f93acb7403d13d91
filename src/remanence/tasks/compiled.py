"""Generators whose samples come one after another are compiled, and kept compiled for the next process."""

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
    """Compile a function, without what may have been wrapped around it to check its types; threads may share it."""
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
    """Numba's, but that a damaged file is compiled again."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Machine code that was kept, or None."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever a pickle that is none may raise
            self.flush()
            return None


@functools.cache
def _folder() -> Path | None:
    """Where machine code is kept that was made of these files; None if others could write there, or
    this user cannot.

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
    return folder if os.access(folder, os.W_OK) else None
