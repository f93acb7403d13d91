"""What every test and doctest starts from."""

import gc
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import jaxtyping
import pytest
import torch

SRC = Path(__file__).parent / "src"


def find_checked_modules() -> list[str]:
    """Types and shapes are checked at run time in all that users call, and in the operations that name shapes.

    The compilers inside make millions of small calls; to check those too took two fifths of the suite's time.
    """
    parts = [path for path in (SRC / "remanence").iterdir() if path.is_dir() or path.suffix == ".py"]
    top = [path for path in parts if not path.name.startswith("_") and path.name != "ops"]
    shaped = [path for path in (SRC / "remanence/ops").rglob("*.py") if "from jaxtyping" in path.read_text("utf-8")]
    return [".".join(path.relative_to(SRC).with_suffix("").parts) for path in (*top, *shaped)]


if importlib.util.find_spec("beartype") is not None:  # a machine with a GPU may lack it
    jaxtyping.install_import_hook([*find_checked_modules(), "studies"], "beartype.beartype")

# One thread a worker, so that two workers on two cores do not fight.
torch.set_num_threads(1)
# Compiling makes millions of small objects, none of them in cycles: look for cycles a hundred times less often.
gc.set_threshold(70_000, 20, 20)


def pytest_configure(config):
    config.addinivalue_line("markers", "unchecked: without jaxtyping's checks, which would speak before our own errors")
    config.addinivalue_line("markers", "cuda(devices=1): needs Triton and so many CUDA GPUs; only these: -m cuda")
    config.addinivalue_line("markers", "slow: its cases take some ten seconds; leave them out with -m 'not slow'")
    # Child processes import what one of them has compiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if "REMANENCE_CACHE_DIR" not in os.environ:  # kernels of the tests: one place for all workers, gone at the end
        config.kernels = os.environ["REMANENCE_CACHE_DIR"] = tempfile.mkdtemp(prefix="remanence-test-kernels-")


def pytest_unconfigure(config):
    if hasattr(config, "kernels"):
        del os.environ["REMANENCE_CACHE_DIR"]
        shutil.rmtree(config.kernels, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip what needs a GPU where there is none."""
    needed = max((mark.kwargs.get("devices", 1) for mark in item.iter_markers("cuda")), default=0)
    if needed and (importlib.util.find_spec("triton") is None or torch.cuda.device_count() < needed):
        pytest.skip(f"needs Triton and {needed} CUDA GPU{'s' if needed > 1 else ''}")


_CRASHED: set[str] = set()


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem, report, sched):
    """A test whose worker ended is run once more by another one, and fails if that ends too."""
    if crashitem not in _CRASHED:
        _CRASHED.add(crashitem)
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"


@pytest.fixture(autouse=True)
def _start(request, doctest_namespace):
    torch.manual_seed(0)
    doctest_namespace["torch"] = torch
    jaxtyping.config.update("jaxtyping_disable", request.node.get_closest_marker("unchecked") is not None)
