"""The kernels on other processors than this one: the same tests, with machine code for each that can run here."""

import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from remanence._kernels import kernel, targets
from remanence._kernels.kernel_source import KernelSource

ROOT = Path(__file__).parents[2]
NEEDS = {
    "x86-64": [],
    "haswell": ["avx2", "fma", "bmi2"],
    "skylake-avx512": ["avx512f", "avx512bw", "avx512dq", "avx512vl"],
}
WIDTHS = {"x86-64": 128, "x86-64-v2": 128, "sandybridge": 128, "haswell": 256, "znver3": 256, "skylake-avx512": 512}
ESSENTIAL = ["tests/kernels/test_cpu_operations.py", "tests/nn/test_transforms.py::test_func_grad_equals_autograd"]
"""Every operation over all numbers; values and gradients of every layer's kernels beside the plain loops."""

only_x86 = pytest.mark.skipif(not targets.is_x86(), reason="these are processors of the x86-64 family")


def run(command, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)


@only_x86
@pytest.mark.slow
@pytest.mark.parametrize("cpu", NEEDS)
def test_kernels_for_another_processor(cpu):
    features = llvm.get_host_cpu_features()
    if missing := [feature for feature in NEEDS[cpu] if not features.get(feature)]:
        pytest.skip(f"this processor cannot run code for {cpu}: it lacks {', '.join(missing)}")
    if targets.vector_bits(*targets.choose_processor()) == WIDTHS[cpu]:
        pytest.skip("all other tests ran with registers of this width")
    done = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", *ESSENTIAL], NUMBA_CPU_NAME=cpu)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@only_x86
@pytest.mark.parametrize("cpu", WIDTHS)
def test_the_width_of_the_registers_follows_the_processor(cpu, monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", cpu)
    name, features = targets.choose_processor()
    assert name == cpu
    assert targets.vector_bits(name, features) == WIDTHS[cpu]


@only_x86
def test_features_can_be_taken_away(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "-avx2")
    assert targets.vector_bits(*targets.choose_processor()) == 128


def test_a_kernel_for_another_processor_is_another_kernel(monkeypatch):
    monkeypatch.setattr(kernel, "_choose_processor", lambda: ("one", ""))

    source = KernelSource("def forward(): pass", ())
    first = kernel.cache_key(source, 32, 4)
    monkeypatch.setattr(kernel, "_choose_processor", lambda: ("another", ""))
    assert kernel.cache_key(source, 32, 4) != first


@only_x86
@pytest.mark.slow
@pytest.mark.parametrize("isa", ["AVX2", "SSE41"])
def test_every_memory_works_under_autocast_without_units_for_bfloat16(isa):
    """oneDNN takes the CPU for an older one; that it has no LSTM in bfloat16 there is why we need another way."""
    code = """
import torch
from remanence import nn
assert not torch.ops.mkldnn._is_mkldnn_bf16_supported()
for name in nn.layers:
    for dtype in (torch.bfloat16, torch.float16):
        torch.manual_seed(0)
        layer, x = nn.create(name, input_size=3, hidden_size=8), torch.randn(2, 5, 3)
        expected, _ = layer(x)
        with torch.autocast("cpu", dtype=dtype):
            y, state = layer(x)
            again, _ = layer(x, state)
            y_t, state = layer.step(x[:, 0], state)
        assert y.dtype in (dtype, torch.float32), (name, y.dtype)
        torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0.1)
        (y.float().sum() + again.float().sum() + y_t.float().sum()).backward()
        if name == "lstm":
            assert y.dtype == dtype
"""
    done = run(["-W", "ignore", "-c", code], ONEDNN_MAX_CPU_ISA=isa)
    assert done.returncode == 0, done.stderr[-2000:]
