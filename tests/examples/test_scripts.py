"""Every script of benchmarks/, docs/figures/ and examples/ runs, at sizes that take a moment."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forked import Forked

from remanence import nn

ROOT = Path(__file__).parents[2]
SMALL = {"BATCH": 2, "TIME": 6}
CONSTANTS = {
    "benchmarks/attention.py": {"LENGTHS": (256, 512)},
    "benchmarks/cells.py": {**SMALL, "UNITS": (8,)},
    "benchmarks/cfc.py": SMALL,
    "benchmarks/delta.py": {**SMALL, "SIZE": 4, "INPUTS": 3},
    "benchmarks/fast_weights.py": {"BATCH": 2, "LENGTHS": (4, 8), "UNITS": 12},
    "benchmarks/fastlane.py": {**SMALL, "NEURONS": 8, "DENSITIES": (0.5, 1.0)},
    "benchmarks/flip_flop_start.py": {"PAIRS": 4, "BATCH": 2, "SEEDS": (0,), "UPDATES": {10: 2, 20: 2}},
    "benchmarks/generators.py": {"COUNT": 2, "IMAGES": 1},
    "benchmarks/indexed_recall.py": {"MIXERS": ("gru", "full"), "SECONDS": 0.2, "EVERY": 1},
    "benchmarks/kills.py": {"KILLS": 2, "COMMANDS": ("train",), "SLOWEST": 6.0, "EPOCHS": 2},
    "benchmarks/layers.py": {**SMALL, "UNITS": 8},
    "benchmarks/linear_memories.py": {"LENGTHS": (32,), "LANES": (8,), "CHANNELS": 4},
    "benchmarks/liquid.py": {**SMALL, "LENGTHS": (64, 128)},
    "benchmarks/newton.py": {"LENGTHS": (32,), "ELEMENTS": (8,), "CHANNELS": 4},
    "benchmarks/recall.py": {"DELAYS": (10,), "SEEDS": (0,), "RATES": (1e-2,), "STEPS": 2, "EVERY": 1, "BATCH": 2},
    "benchmarks/recurrence.py": {"BATCHES": (2,), "TIME": 6, "UNITS": (8,)},
    "benchmarks/scan.py": {**SMALL, "CHANNELS": 8, "LENGTHS": (4, 8)},
    "benchmarks/unitary.py": {**SMALL, "UNITS": 8},
    "docs/figures/associative_memories.py": {"N": 40, "RATIOS": [0.05, 0.3]},
    "docs/figures/attractors.py": {"INHIBITIONS": (0.55, 1.95), "STARTS": 8, "RESOLUTION": 8},
    "docs/figures/fast_attention.py": {"UPDATES": 3, "BATCH": 4, "TEST": 20, "FOLLOWED": 2},
    "docs/figures/holding.py": {"UPDATES": 3},
    "docs/figures/vanishing_gradients.py": {"UNITS": 8, "STEPS": 10},
    "docs/figures/what_helps.py": {"STEPS": 20, "DELAYS": (1, 5)},
}
ARGUMENTS = {"benchmarks/scan.py": ["--repeats", "1"], "benchmarks/recall.py": ["--layers", "gru", "--delays", "10"]}
ALONE = ("benchmarks/gpu.py", "benchmarks/scan_gpu.py", *(f"examples/{name}.py" for name in (
    "bistable", "delta_rule", "layer_norm_lstm", "linear_feedback", "ltc_control", "matrix_rnn", "minimal_gru",
    "nbrc", "online_learning", "slstm", "written_and_read",
)))  # fmt: skip
"""With tests of their own: below, in test_gpu.py and in test_examples.py."""

HERE = [
    str(path.relative_to(ROOT))
    for folder in ("benchmarks", "docs/figures", "examples")
    for path in sorted((ROOT / folder).glob("[a-z]*.py"))
]

RUNNER = """
import importlib.util, pathlib, sys
path, output, constants = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), eval(sys.argv[3])
sys.argv = [str(path), *sys.argv[4:]]
sys.path.insert(0, str(path.parent))
if path.parent.name == "benchmarks":
    import _interleaved, _process
    collect = _interleaved.collect_samples
    _interleaved.collect_samples = lambda ways, repeats=1: collect(ways, 1)
    _process.REPEATS = 1
else:
    import _figure
    _figure.__file__ = str(output / "figure.py")
spec = importlib.util.spec_from_file_location("script", path)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
for name, value in constants.items():
    assert hasattr(script, name), f"{path} has no {name}"
    setattr(script, name, value)
for name, value in list(vars(script).items()):
    if isinstance(value, pathlib.Path) and "results" in value.parts:
        setattr(script, name, output / value.name if value.suffix else output)
script.main()
"""
"""Runs a script's main with other constants; what it would write goes to another folder."""


def test_every_script_is_known():
    assert set(HERE) == {*CONSTANTS, *ALONE}, "a new script needs a small size here, or a test of its own"


@pytest.mark.slow
@pytest.mark.parametrize("script", CONSTANTS)
def test_a_script_runs(script, tmp_path):
    before = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout
    given = [ROOT / script, tmp_path, repr(CONSTANTS[script]), *ARGUMENTS.get(script, [])]
    done = Forked(RUNNER, *given, folder=ROOT).wait()
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert done.stdout or list(tmp_path.iterdir())
    after = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout
    assert after == before


def load_scan_gpu():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("scan_gpu", ROOT / "benchmarks" / "scan_gpu.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


@pytest.mark.parametrize("sub_steps", [0, 1, 6])
def test_the_problems_for_a_gpu_are_right(sub_steps):
    """The same as there, by the kernels for CPUs and the plain loop."""
    problem = load_scan_gpu().Problem(sub_steps, 2, 5, 3, device="cpu")
    torch.testing.assert_close(problem.forward("cpu"), problem.forward("reference"))
    torch.testing.assert_close(problem.run_both_ways("cpu"), problem.run_both_ways("reference"), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        problem.run_loop(problem.inputs, problem.state, problem.params), problem.forward("cpu")[0]
    )
    assert problem.numbers(backward=True) > problem.numbers(backward=False) > 0


def test_the_cells_for_a_gpu_are_right():
    """Likewise."""
    script = load_scan_gpu()
    for cell in script.CELLS:
        problem = script.CellProblem(cell, 2, 5, 8, device="cpu")
        torch.testing.assert_close(problem.forward("cpu"), problem.forward("reference"), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            problem.run_both_ways("cpu"), problem.run_both_ways("reference"), rtol=1e-3, atol=1e-5
        )
        assert (problem.operations() > 0) == bool(problem.params)
    for name in script.LAYERS:
        layer = nn.create(name, input_size=3, hidden_size=8)
        assert script.LayerProblem(layer, 2, 5, 3, device="cpu").run_both_ways()[0].isfinite().all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, the script would measure it")
def test_without_a_gpu_the_script_says_so():
    command = [sys.executable, str(ROOT / "benchmarks" / "scan_gpu.py")]
    assert "no CUDA GPU here" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
