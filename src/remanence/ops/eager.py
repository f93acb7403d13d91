"""Keeps ``torch.compile`` from unrolling loops over time."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from remanence._torch import without_dynamo

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def run_eagerly(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorate a function so that compiled code runs it eagerly: one graph break instead of a graph of every time step.

    ``torch.export`` cannot break its graph, so there the function is traced.

    Args:
        function: runs a loop over time.
    """

    @functools.wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            return without_dynamo(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return run
