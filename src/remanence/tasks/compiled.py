"""Generators whose samples come one after another are compiled."""

import inspect
from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function, without what may have been wrapped around it to check its types; threads may share it."""
    return numba.njit(inspect.unwrap(function), nogil=True)
