import re
from pathlib import Path

import pytest

from remanence import nn

ROOT = Path(__file__).parents[1]


TUTORIAL = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "tutorial").glob("*.md"))


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/instruments.md", *TUTORIAL])
def test_the_python_of_a_page_runs(page, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names = {}  # a later block goes on where an earlier one ended
    for block in blocks:
        exec(block, names)


def test_every_memory_is_in_the_table():
    text = (ROOT / "README.md").read_text()
    assert all(f"| `{name}` |" in text for name in nn.layers)
