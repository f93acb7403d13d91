"""Output of the commands."""

import io
import json
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from remanence.errors import UserError
from remanence.extras import require_extra

with require_extra("train", "the remanence command"):
    from rich.console import Console

FILE_WIDTH = 120
"""Letters in a line where no terminal and no COLUMNS say how many there are."""

out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else FILE_WIDTH)
err = Console(stderr=True)


def accept_all_letters() -> None:
    """Print what an encoding such as ASCII or cp1252 has no letter for as ``?``, instead of ending with an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def check_paths(paths: Iterable[Path], wanted: str) -> None:
    """Refuse paths that are not there, before anything is loaded.

    Raises:
        ValueError: the message has the first of them.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist: {wanted}")


def format_command() -> str:
    """Format the running command for a page; repeating it resumes, or reads what is there."""
    return shlex.join(["remanence", *(word for word in sys.argv[1:] if word not in ("--overwrite", "--debug"))])


def say(text: str) -> None:
    """Print a line to the standard error, without interpreting markup."""
    err.print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print plain JSON to the standard output."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")
