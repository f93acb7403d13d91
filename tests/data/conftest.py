"""What the tests of data share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # published, for the tests beside it
