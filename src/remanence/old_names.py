"""Names that were changed: the old one is accepted for one version, with a warning."""

import warnings
from collections.abc import Mapping


def warn_about_old_name(old: str, present: str, *, stacklevel: int = 2) -> None:
    """Warn that a name was changed.

    Args:
        old: the name that was used.
        present: its present name.
        stacklevel: as in ``warnings.warn``, counted from the caller; default: the caller of the caller.

    Warns:
        FutureWarning: always.
    """
    warnings.warn(
        f"{old} is now called {present}; the old name will be removed in the next version",
        FutureWarning,
        stacklevel=stacklevel + 1,
    )


def find_present_name(module: str, name: str, renamed: Mapping[str, str]) -> str:
    """Return the present name of an attribute; for the ``__getattr__`` of a module.

    Args:
        module: the ``__name__`` of the module.
        name: the attribute that the module does not have.
        renamed: present names by old ones.

    Returns:
        The present name.

    Raises:
        AttributeError: it is not an old name.

    Warns:
        FutureWarning: it is an old name.
    """
    if name not in renamed:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    place = module.rpartition(".")[2]
    warn_about_old_name(f"{place}.{name}", f"{place}.{renamed[name]}", stacklevel=3)
    return renamed[name]
