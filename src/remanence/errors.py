"""Exceptions: mistakes that the user can fix, and runs that could not finish."""

from typing import Any


class UserError(ValueError):
    """An invalid argument, option or file; the message says what was expected, what came, and what to do.

    It is a ``ValueError`` and can be caught as one; any other ``ValueError`` is a bug.
    """


class RunError(RuntimeError):
    """A run ended without a result; the message says what to do."""


def describe_value(value: Any) -> str:
    """Describe a wrong argument: shape, dtype and device of a tensor, else the type."""
    if all(hasattr(value, name) for name in ("shape", "dtype", "device")):
        return f"{list(value.shape)} of {value.dtype} on {value.device}"
    return repr(type(value))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the machine or the GPU is out of memory."""
    # PyTorch's allocator for CPUs raises a plain RuntimeError, NumPy's arrays a MemoryError.
    signs = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
    )


class DivergenceError(RunError):
    """The loss is no longer a finite number; says at which step and the likely cause."""
