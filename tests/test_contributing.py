"""What CONTRIBUTING says of a new memory: one file, and it is listed and held to the contract."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAD = "import torch\nfrom torch import Tensor, nn\n\nfrom remanence.nn import Memory\n\n\n"


@pytest.fixture
def package(tmp_path):
    """The memory of CONTRIBUTING in a package of its own, as pip would install it."""
    found = re.search(r"```python\n( *class Leaky.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert found is not None
    block = found[1]
    margin = len(block) - len(block.lstrip())
    text = "\n".join(line[margin:] for line in block.splitlines())
    (tmp_path / "leaky_memory.py").write_text(HEAD + text + "\n")
    about = tmp_path / "leaky_memory-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky-memory\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[remanence.layers]\nleaky = leaky_memory:Leaky\n")
    return tmp_path


def run(package, *command):
    path = f"{package}{os.pathsep}{ROOT / 'src'}"
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_it_is_listed(package):
    assert "leaky" in run(package, "remanence", "list").stdout


@pytest.mark.slow
def test_it_keeps_the_contract(package):
    done = run(package, "pytest", "-q", "tests/nn/test_contract.py", "-k", "leaky")
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 10
