"""Generated source text: filling in templates, and running text as a module whose source ``inspect`` can find."""

import hashlib
import linecache
import textwrap
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def load_functions(source: str, interpreted: bool) -> dict[str, Any]:
    """Run the source and return what it defines, by name.

    Triton asks ``inspect`` for the source of a kernel. The text is therefore registered with ``linecache``, where
    ``inspect`` looks, and nothing is written to disk. (Triton has its own cache of compiled kernels.)

    Args:
        source: Python text with Triton kernels.
        interpreted: whether Triton's interpreter runs it; Triton reads that from the environment when it decorates.
    """
    name = f"remanence_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    file = f"<{name}>"
    # Without a modification time linecache keeps the entry, as for source that a loader provides.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(source, file, "exec"), namespace)
    return namespace


def fill_template(template: str, **parts: str) -> str:
    """Fill in a template; every line of a part gets the indentation of the line that names the part."""
    lines: list[str] = []
    for line in template.splitlines():
        margin = line[: len(line) - len(line.lstrip())]
        text = line.strip().format(**parts)
        lines += textwrap.indent(text, margin).splitlines() if line.strip() else [""]
    return "\n".join(lines) + "\n"
