"""Compilation of generators that draw one sample after another."""

import inspect
from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function by Numba, without wrappers that check its types; it releases the GIL."""
    return numba.njit(inspect.unwrap(function), nogil=True)
