"""Checks of numbers that users pass as arguments."""

import operator
from typing import SupportsIndex

import numpy as np

from remanence.errors import UserError

MOST = 10_000_000
"""Steps of a sequence, or samples that are held, beyond which memory ends before anything is learnt."""


def positive_integer(name: str, value: SupportsIndex, *, most: int | None = None) -> int:
    """Return ``value`` as an int if it is an integer from 1 to ``most``, else raise a ``ValueError``.

    Integers of NumPy and others that :func:`operator.index` takes are integers; truth values are not.

    Args:
        name: the name of the argument, for the message.
        value: what the user passed.
        most: the largest value allowed; default: no limit.

    Raises:
        ValueError: it is not such an integer; the message names the argument.
    """
    number = _as_integer(value)
    if number is None or number < 1 or (most is not None and number > most):
        limit = "" if most is None else f" of at most {most}"
        raise UserError(f"{name} must be a positive integer{limit}, got {value!r}")
    return number


def check_range(least: int, *, most: int = MOST, **values: int) -> None:
    """Raise a ``ValueError`` that names the first of the values that is not an integer from ``least`` to ``most``."""
    for name, value in values.items():
        number = _as_integer(value)
        if number is None:
            raise UserError(f"{name} must be an integer, got {value!r}")
        if number < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
        if number > most:
            raise UserError(f"{name} must be at most {most:,}, got {value:,}")


def check_probability(**values: float) -> None:
    """Raise a ``ValueError`` that names the first of the values that is not a probability."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise UserError(f"{name} must be a probability between 0 and 1, got {value}")


def _as_integer(value: SupportsIndex) -> int | None:
    if isinstance(value, bool | np.bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
