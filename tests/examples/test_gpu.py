"""`benchmarks/gpu.py` runs everywhere at a small size, and survives what fails or never ends."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from remanence import nn

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu() -> Any:
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_needs_a_gpu_is_marked():
    """One mark, by which these tests are selected."""
    texts = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py")}
    assert sum("mark.cuda" in text for text in texts.values()) > 5
    assert [path for path, text in texts.items() if re.search(r"skipif\(.*\bnot\b.*\bcuda\b", text)] == []


@pytest.mark.slow
def test_all_of_it_at_a_small_size(tmp_path):
    path = tmp_path / "gpu.json"
    command = [sys.executable, str(SCRIPT), "--tiny", "--output", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(path.read_text())
    assert sum(record["tests"]["outcomes"].values()) == record["tests"]["selected"] > 0
    assert record["versions"]["torch"] == torch.__version__
    sections: dict[str, list[str]] = {}
    for row in record["figures"]:
        assert row["ms"] > 0, row
        sections.setdefault(row["section"], []).append(row["figure"])
    assert {name.partition(":")[0] for name in sections["layers"]} == set(nn.layers)
    table = path.with_suffix(".md").read_text()
    assert all(f"| {section} | {figure} |" in table for section, figures in sections.items() for figure in figures)
    assert len(sections) == 7


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, the script would measure it")
def test_without_a_gpu_it_says_so(tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode != 0
    assert (done.stdout + done.stderr).strip() == "no CUDA GPU here: nothing measured"


def raises(send):
    send({"index": 0})
    raise ValueError("it began well\nand ended badly")


def aborts(send):
    send({"index": 0})
    os.write(2, b"device-side assert\n")
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(send):
    send({"index": 0})
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


@pytest.mark.parametrize(
    ("target", "error"),
    [(raises, "ended with 1: and ended badly"), (aborts, "ended with -9: device-side assert"), (hangs, None)],
)
def test_what_ends_badly_or_never_keeps_what_it_had(gpu, target, error):
    start = time.monotonic()
    sent = list(gpu.in_a_process(target, seconds=3))
    assert sent == [{"index": 0}, *([{"error": error}] if error else [])]
    assert time.monotonic() - start < 30


def test_a_section_whose_figures_fail(gpu, monkeypatch):
    def send_some(section, is_tiny, send):
        for index in range(3):
            about = {"beside": "a copy", "target": 1.5, "target of": "ratio"}
            send({"index": index, "figure": f"figure {index}", **about})
        send({"index": 0, "ms": 3.0, "beside, ms": 2.5})
        send({"index": 1, "error": "ValueError: no"})
        os._exit(3)

    monkeypatch.setattr(gpu, "send_figures", send_some)
    counts = []
    rows = gpu.measure("layers", True, 30, lambda done, total: counts.append((done, total)))
    assert counts[-2:] == [(2, 3), (3, 4)]
    assert rows[0]["ratio"] == pytest.approx(1.2)
    assert rows[0]["reached"]
    cells = gpu.as_cells({"outcomes": {"passed": 2}, "not run": 1}, rows)
    assert [line[2] for line in cells[1:4]] == ["3", "ValueError: no", "not measured"]
    assert cells[4][:3] == ["layers", "the section", "ended with 3: "]
    assert [line[-1] for line in cells[:2]] == ["no", "yes"]


TESTS = """
import pytest

@pytest.mark.cuda
@pytest.mark.parametrize("good", [True, False])
def test_one(good):
    assert good

@pytest.mark.cuda
def test_ends(good):
    pass

def test_of_the_cpu():
    assert False
"""


@pytest.mark.slow
def test_outcomes_of_tests(gpu, monkeypatch, tmp_path):
    (tmp_path / "test_made_up.py").write_text(TESTS)
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name  # mark.cuda")
    (tmp_path / "conftest.py").write_text("def pytest_configure(config): config.addinivalue_line('markers', 'cuda: a')")
    monkeypatch.setattr(gpu, "list_test_files", lambda is_tiny: [str(tmp_path), "--rootdir", str(tmp_path)])
    found = gpu.run_tests(True, 120, lambda done, total: None)
    assert found["outcomes"] == {"failed": 3, "passed": 1}
    assert (found["selected"], found["not run"]) == (3, 0)
    errors = {name.rpartition("/")[2].rpartition("::")[2]: error for name, error in found["failures"].items()}
    assert errors["test_one[False]"] == "assert False"
    assert "fixture 'good' not found" in errors["test_ends"]
    assert "nothing_of_this_name" in errors["test_broken.py"]


def test_tests_that_take_too_long(gpu, monkeypatch, tmp_path):
    (tmp_path / "test_long.py").write_text("import time\ntime.sleep(600)")
    monkeypatch.setattr(gpu, "list_test_files", lambda is_tiny: [str(tmp_path), "--rootdir", str(tmp_path)])
    assert gpu.run_tests(True, 1, lambda done, total: None)["error"] == "out of time"
