"""Source text run as a module, in which Python's ``inspect`` finds the source of every function again."""

import hashlib
import linecache
import textwrap
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def functions(source: str, interpreted: bool) -> dict[str, Any]:
    """What the source defines, by name.

    Triton reads a kernel from its source, which it asks ``inspect`` for. The source is given to ``linecache``, where
    ``inspect`` looks: nothing is written to disk, so nothing there can be damaged, read-only or raced for. (Triton
    keeps what it compiles in a cache of its own.)

    Args:
        source: Python, with kernels of Triton.
        interpreted: whether Triton's interpreter is to run it; Triton itself asks the environment when it decorates.
    """
    name = f"remanence_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    file = f"<{name}>"
    # No modification time: linecache takes that for a source which a loader gave, and keeps it.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(source, file, "exec"), namespace)
    return namespace


def filled(template: str, **parts: str) -> str:
    """A template whose parts keep the indentation of the line that they stand in."""
    lines: list[str] = []
    for line in template.splitlines():
        margin = line[: len(line) - len(line.lstrip())]
        text = line.strip().format(**parts)
        lines += textwrap.indent(text, margin).splitlines() if line.strip() else [""]
    return "\n".join(lines) + "\n"
