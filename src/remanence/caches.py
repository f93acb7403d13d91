"""The cache folder for compiled kernels and prepared data."""

import os
from pathlib import Path


def directory() -> Path | None:
    """Return the cache folder: ``REMANENCE_CACHE_DIR``, else ``remanence`` in the user's cache directory.

    Returns:
        None if the user has no home directory.
    """
    return get_configured_directory() or _default_directory()


def get_configured_directory() -> Path | None:
    """Return the folder in ``REMANENCE_CACHE_DIR``, or None if that is not set."""
    chosen = os.environ.get("REMANENCE_CACHE_DIR")
    return Path(chosen) if chosen else None


def _default_directory() -> Path | None:
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification: such a path is to be ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "remanence" if base.is_absolute() else None
