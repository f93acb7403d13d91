"""The script that puts damaged files before every reader finds nothing, and would."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "fuzz" / "run.py"


@pytest.fixture
def fuzz():
    def run(*arguments):
        return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=280)

    return run


@pytest.mark.slow
def test_no_reader_falls_over(fuzz, tmp_path):
    done = fuzz("--cases", "25", "--output", str(tmp_path / "fuzz.md"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 475 cases, 0 faults" in (tmp_path / "fuzz.md").read_text()


FAULTS = """
import os, sys, signal, time
sys.path.insert(0, {folder!r})
import run
from readers import Reader
from remanence.errors import UserError

def unnamed():
    raise UserError("something is wrong")

def read(path):
    if path.read_bytes() == b"whole":
        return
    [lambda: 1 / 0, lambda: os.kill(os.getpid(), signal.SIGSEGV), lambda: bytearray(3 << 30), lambda: time.sleep(9),
     lambda: open("/tmp/elsewhere", "w"), lambda: os.system("true"), unnamed][number]()  # of the loop below

class Numbered(Reader):
    def write(self, folder, draw):
        (folder / "file").write_bytes(b"whole" if draw is None else b"damaged")
        return folder / "file"

run.SECONDS = 1
for number in range(7):
    print(dict(run.ends("it", Numbered({{"file": b"whole"}}, read), 0, 0, 1)))
"""


@pytest.mark.slow
def test_it_sees_every_kind_of_fault():
    code = FAULTS.format(folder=str(SCRIPT.parent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    counted = [line for line in done.stdout.splitlines() if line.startswith("{")]
    kinds = ["traceback", "crash", "too large", "too slow", "outside", "outside", "unnamed"]
    assert counted == [f"{{'{kind}': 1}}" for kind in kinds], done.stdout + done.stderr
