"""What `benchmarks/gpu.py` runs on a machine with a GPU."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_what_needs_a_gpu_is_marked():
    """One mark, by which these tests are selected."""
    marked = [path for path in TESTS.rglob("test_*.py") if "mark.cuda" in path.read_text("utf-8")]
    others = [
        path for path in TESTS.rglob("*.py") if re.search(r"skipif\(.*\bnot\b.*\bcuda\b", path.read_text("utf-8"))
    ]
    assert len(marked) > 5
    assert others == []
