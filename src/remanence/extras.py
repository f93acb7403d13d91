"""Optional dependencies; if one is missing, the error names the extra that installs it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def require_extra(extra: str, what: str) -> Iterator[None]:
    """Import what an extra brings.

    Args:
        extra: its name, as in ``remanence[train]``.
        what: needs it, for the message.

    Raises:
        ImportError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == "remanence":
            raise
        package = missing.name.partition(".")[0]
        raise ImportError(f"{what} needs {package}: pip install 'remanence[{extra}]'", name=package) from missing
