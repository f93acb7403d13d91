"""What the commands print with."""

import json
import sys
from typing import Any

from rich.console import Console

out = Console()
err = Console(stderr=True)


def print_json(data: Any) -> None:
    """Plain JSON on the standard output."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")
