"""Errors that are nobody's mistake: a run that could not come to its end."""


class RunError(RuntimeError):
    """A run ended without a result; the message says what to do."""


class DivergenceError(RunError):
    """The loss is no longer a finite number; says at which step and the likely cause."""
