"""What the commands print with."""

import json
import os
import sys
from typing import Any

from rich.console import Console

FILE_WIDTH = 120
"""Letters in a line where no terminal and no COLUMNS say how many there are."""

out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else FILE_WIDTH)
err = Console(stderr=True)


def print_json(data: Any) -> None:
    """Plain JSON on the standard output."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")
