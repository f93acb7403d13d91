"""A kernel before it is compiled."""

from dataclasses import dataclass

HEAD = ("part", "begin", "end")
"""The first arguments of every kernel; the entry function fills them in."""


@dataclass(frozen=True)
class KernelSource:
    """The text of a kernel; all its arguments are integers.

    Attributes:
        text: text of a function in the language of :mod:`remanence._kernels.compiler`.
        arguments: names of the function's arguments, :data:`HEAD` first.
    """

    text: str
    arguments: tuple[str, ...]
