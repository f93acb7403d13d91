"""Checks of a task's options."""


def at_least(least: int, **values: int) -> None:
    """Raise a ``ValueError`` that names the first of the values below ``least``."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def probability(**values: float) -> None:
    """Raise a ``ValueError`` that names the first of the values that is no probability."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is a probability, 0 to 1, got {value}")
