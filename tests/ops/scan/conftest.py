"""The plain loop over graphs joins as a backend under the name "graph"."""

import sys
from pathlib import Path

import pytest

from remanence.ops.scan import backend

sys.path.insert(0, str(Path(__file__).parent))  # grammar, for the tests beside it


@pytest.fixture
def graph_backend(monkeypatch):
    monkeypatch.setitem(backend.MODULES, "graph", "remanence.ops.scan.graph_loop")
    return "graph"
