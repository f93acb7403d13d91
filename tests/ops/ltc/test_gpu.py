"""Triton's kernels for synapses against the plain formulas: in its interpreter, and on a GPU where there is one."""

import importlib.util
import os
import subprocess
import sys
from functools import partial

import pytest
import torch
from narrow_products import find_narrow_products
from problems import TOLERANCE, assert_spreads_along_synapses, gradients, leaf, synapses

from remanence import nn
from remanence.ops import ltc as synaptic
from remanence.ops.episodes import Episodes
from remanence.ops.ltc import gpu

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
SHAPES = [(1, 1, 1, 1.0, 1), (5, 3, 3, 0.5, 2), (18, 5, 1, 0.3, 2), (4, 20, 2, 1.0, 1)]


@pytest.fixture(params=[pytest.param("interpreter", marks=needs_triton), pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request, monkeypatch):
    if request.param == "cuda":
        return "cuda"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(gpu, "PROGRAMS", 2)  # fewer than samples, as on a GPU with many
    monkeypatch.setattr(gpu, "LARGEST_TILE", 16)  # several tiles
    return "cpu"


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """What a kernel should have written and did not is NaN."""
    monkeypatch.setattr(gpu, "_allocate", lambda like, *shape: like.new_full(shape, torch.nan))


def assert_equal(function, leaves, dtype):
    results = []
    for backend in ("reference", "gpu"):
        found = function(backend)
        results.append((*found, *gradients(found, leaves)))
    close = partial(torch.testing.assert_close, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    close(*results)
    with torch.no_grad():
        close(function("gpu"), tuple(results[0][:2]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("receivers", "senders", "batch", "density", "time"), SHAPES)
def test_sums_over_synapses_equal_the_formula(device, dtype, receivers, senders, batch, density, time):
    edges, parameters = synapses(receivers, senders, density, dtype, device)
    x = leaf(batch, time, senders, dtype=dtype, device=device)
    assert_equal(lambda backend: synaptic.sum_synapses(x, edges, parameters, backend=backend), [x, *parameters], dtype)


def test_what_is_not_finite_spreads_along_synapses(device):
    assert_spreads_along_synapses("gpu", device)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_steps_of_no_length(device, dtype):
    edges, parameters = synapses(5, 5, 0.5, dtype, device)
    v, capacitance = leaf(3, 5, dtype=dtype, device=device), leaf(5, dtype=dtype, shift=0.5, device=device)
    p, q = (leaf(3, 3, 5, dtype=dtype, shift=0.1, device=device) for _ in range(2))
    timespans = torch.tensor([[0, 0, 0], [0.5, 0, 2], [1, 1, 0]], dtype=dtype, device=device)

    def run(backend):
        options = {"sub_steps": 2, "timespans": timespans, "backend": backend}
        return synaptic.evolve(v, p, q, capacitance, edges, parameters, **options)

    assert_equal(run, [v, p, q, capacitance, *parameters], dtype)
    assert torch.equal(run("gpu")[1][0], v[0])


@pytest.mark.slow
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("neurons", "_", "batch", "density", "time"), SHAPES)
def test_evolve_equals_the_loop(device, dtype, neurons, _, batch, density, time, timed):
    edges, parameters = synapses(neurons, neurons, density, dtype, device)
    v = leaf(batch, neurons, dtype=dtype, device=device)
    capacitance = leaf(neurons, dtype=dtype, shift=0.5, device=device)
    p, q = (leaf(batch, time, neurons, dtype=dtype, shift=0.1, device=device) for _ in range(2))
    spans = leaf(batch, time, dtype=dtype, shift=0.2, device=device) if timed else None
    leaves = [v, p, q, capacitance, *parameters, *([spans] if timed else [])]
    episodes = None
    if timed:
        leaves.append(leaf(batch, neurons, dtype=dtype, device=device))
        reset, lengths = torch.rand(batch, time, device=device) < 0.4, torch.randint(0, time + 1, (batch,))
        episodes = Episodes(reset, (leaves[-1],), lengths)

    def run(backend):
        options = {"sub_steps": 2, "timespans": spans, "backend": backend, "episodes": episodes}
        return synaptic.evolve(v, p, q, capacitance, edges, parameters, **options)

    assert_equal(run, leaves, dtype)


COMPILE = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from remanence._kernels.source_text import load_functions
from remanence.ops.ltc.gpu_source import TEXT

numbers, capability = sys.argv[1], int(sys.argv[2])
real = getattr(triton.language, {"fp32": "float32", "fp64": "float64"}[numbers])
tiles = {"ROWS": 32, "COLUMNS": 32, "REAL": real}
names = ["sum_synapses_forward", "sum_synapses_backward"]
evolutions = ["evolve_forward", "evolve_backward"]
variants = [(name, tiles | {"RESETS": resets}) for name in evolutions for resets in (False, True)]
for name, constants in [*((name, tiles) for name in names), *variants]:
    kernel = load_functions(TEXT, False)[name]
    types = {arg: f"*{numbers}" if arg.endswith("_at") else "i32" for arg in kernel.arg_names}
    described = ASTSource(kernel, types | dict.fromkeys(constants, "constexpr"), constexprs=constants)
    compiled = triton.compile(described, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})
    assert compiled.asm["cubin"]
    print(compiled.asm["ttir"])
"""


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize(("numbers", "capability"), [("fp32", 90), ("fp64", 80)])
def test_compiles_for_gpus_that_are_not_here(tmp_path, numbers, capability):
    # In a process of its own: Triton's interpreter leaves its marks on the language that the compiler reads.
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", COMPILE, numbers, str(capability)]
    ir = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout
    assert ir.count("tt.func public") == 6
    assert find_narrow_products(ir) == []


@pytest.mark.cuda
def test_a_layer_on_a_gpu_equals_the_one_on_the_cpu():
    layer, x = nn.LTC(4, 20), torch.randn(3, 10, 4)
    expected = layer(x)[0]
    torch.testing.assert_close(layer.cuda()(x.cuda())[0].cpu(), expected, rtol=1e-4, atol=1e-4)


def test_what_it_cannot_run_is_refused(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    edges, parameters = synapses(3, 3, 1.0, torch.float32)
    with pytest.raises(ValueError, match="backend 'gpu' cannot run this: its tensors are on cpu, and it runs on CUDA"):
        synaptic.sum_synapses(torch.rand(2, 3), edges, parameters, backend="gpu")
