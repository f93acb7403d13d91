"""The plain backend over graphs joins under the name "graph"."""

import sys
from pathlib import Path

import pytest

from remanence.scan import backend

sys.path.insert(0, str(Path(__file__).parent))  # grammar and loop_backend, for the tests beside them


@pytest.fixture
def graph_backend(monkeypatch):
    monkeypatch.setitem(backend.MODULES, "graph", "loop_backend")
    return "graph"
