"""Errors of ours: what a user can mend, and what is nobody's mistake, a run that could not come to its end."""


class UserError(ValueError):
    """What was given cannot be worked with; the message says what was expected, what came, and what to do.

    It is a ``ValueError``, and so to be caught as one; any other ``ValueError`` is a mistake of ours.
    """


class RunError(RuntimeError):
    """A run ended without a result; the message says what to do."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was asked for that the machine or the GPU does not have."""
    # PyTorch's allocator for CPUs raises a plain RuntimeError, NumPy's arrays a MemoryError.
    signs = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
    )


class DivergenceError(RunError):
    """The loss is no longer a finite number; says at which step and the likely cause."""
