"""The files beside this one find each other, also where pytest looks for examples in them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
