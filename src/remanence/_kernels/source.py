"""A kernel before it is compiled."""

from dataclasses import dataclass

HEAD = ("part", "begin", "end")
"""The first arguments of every kernel, which the threads fill in."""


@dataclass(frozen=True)
class Source:
    """A function to be compiled; all its arguments are integers.

    Attributes:
        text: Python.
        arguments: their names, :data:`HEAD` first.
    """

    text: str
    arguments: tuple[str, ...]
