"""What Triton's interpreter lacks lies beside the tests of the scan."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "scan"))
