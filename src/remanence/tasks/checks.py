"""Checks of a task's options."""

from remanence.errors import UserError

MOST = 10_000_000
"""Steps of a sequence, or samples that are held, beyond which memory ends before anything is learnt."""


def at_least(least: int, *, most: int = MOST, **values: int) -> None:
    """Raise a ``ValueError`` that names the first of the values below ``least`` or above ``most``."""
    for name, value in values.items():
        if value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
        if not value <= most:
            raise UserError(f"{name} must be at most {most:,}, got {value:,}")


def probability(**values: float) -> None:
    """Raise a ``ValueError`` that names the first of the values that is no probability."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise UserError(f"{name} is a probability, 0 to 1, got {value}")
