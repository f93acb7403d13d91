"""Loops over time that ``torch.compile`` must not unroll."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from remanence._torch import without_dynamo

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def uncompiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, run as it is within compiled code: one graph break instead of a graph of every time step.

    An export needs it as part of its graph, and has it.

    Args:
        function: the loop.
    """

    @functools.wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            return without_dynamo(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return run
