"""The Triton kernels of the firing against the plain loop: interpreted, on a GPU, and compiled for GPUs not here."""

import importlib.util

import interpreted_libdevice
import numpy as np
import pytest
import torch
from narrow_products import find_narrow_products

from remanence import wiring
from remanence._kernels.source_text import load_functions
from remanence.ops.episodes import Episodes
from remanence.ops.firing import gpu
from remanence.ops.firing.firing_schedule import Schedule
from remanence.ops.firing.gpu_source import backward_source, forward_source
from remanence.ops.firing.operation import fire
from remanence.ops.scan.trace import TracedStep

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's, in the interpreter


@pytest.fixture(params=[pytest.param("interpreter", marks=needs_triton), pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request, monkeypatch):
    monkeypatch.setattr(gpu, "_allocate", lambda like, *shape: torch.full(shape, torch.nan).to(like))
    if request.param == "interpreter":
        interpreted_libdevice.use(monkeypatch)
        return "cpu"
    return "cuda"


@pytest.mark.slow
@pytest.mark.parametrize(("neurons", "density"), [(5, 0.0), (19, 0.1), (5, 1.0)])
@pytest.mark.parametrize(
    ("function", "batch", "ticks", "keep"), [(torch.relu, 1, 1, 1.0), (torch.tanh, 19, 1, 1.0), (torch.relu, 3, 2, 0.7)]
)
def test_equals_the_plain_loop(device, neurons, density, function, batch, ticks, keep):
    time = 2
    graph = wiring.random(neurons, density, seed=1)
    schedule = Schedule(graph, wiring.firing_order(graph, "random", 2), function, ticks, keep)
    shapes = (neurons, time, batch), (neurons, batch), (len(graph.edges),)
    tensors = [torch.randn(s, dtype=torch.float64, device=device).requires_grad_() for s in shapes]
    above = torch.randn(neurons, time, batch, dtype=torch.float64, device=device)
    found = []
    for form in (lambda weight: weight, schedule.matrix):
        for backend in ("reference", "gpu"):
            drive, state, weight = tensors
            values, final = fire(schedule, drive, state, form(weight), backend)
            grads = torch.autograd.grad((values * above).sum() + final.square().sum(), tensors)
            found.append((values, final, *grads))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


@pytest.mark.parametrize(("ticks", "keep"), [(1, 1.0), (2, 0.7)])
def test_samples_that_begin_anew(device, ticks, keep):
    neurons, time, batch = 7, 3, 5
    graph = wiring.random(neurons, 0.4, seed=1)
    schedule = Schedule(graph, wiring.firing_order(graph, "random", 2), torch.tanh, ticks, keep)
    shapes = (neurons, time, batch), (neurons, batch), (len(graph.edges),), (neurons, batch)
    tensors = [torch.randn(s, dtype=torch.float64, device=device).requires_grad_() for s in shapes]
    above = torch.randn(neurons, time, batch, dtype=torch.float64, device=device)
    drive, state, weight, first = tensors
    lengths = torch.tensor([3, 2, 0, 1, 3])
    episodes, found = Episodes(torch.rand(batch, time, device=device) < 0.4, (first,), lengths), []
    for backend in ("reference", "gpu"):
        values, final = fire(schedule, drive, state, weight, backend, episodes)
        found.append((values, final, *torch.autograd.grad((values * above).sum() + final.square().sum(), tensors)))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_dtypes(device, dtype):
    graph = wiring.random(12, 0.3, seed=1)
    schedule = Schedule(graph, np.arange(12), torch.tanh, 1, 0.9)
    shapes = (12, 4, 5), (12, 5), (len(graph.edges),)
    drive, state, weight = (torch.randn(shape, device=device) / 2 for shape in shapes)
    expected, _ = fire(schedule, drive, state, weight, "reference")
    values, _ = fire(schedule, drive.to(dtype), state.to(dtype), weight.to(dtype), "gpu")
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(values.float(), expected, rtol=tolerance, atol=tolerance)


@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiles_for_gpus_that_are_not_here(dtype, monkeypatch, tmp_path):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = TracedStep(lambda state, inputs, params: (torch.tanh(state[0]),), (1, 0, 0), 2, 3, dtype)
    number = "fp32" if dtype == torch.float32 else "fp64"
    of_integers = ("order", "level", "most", "first", "other", "shift")
    for name, source in (
        ("forward", forward_source(function.forward, dtype)),
        ("backward", backward_source(function.vjp((True,)), dtype)),
        ("forward", forward_source(function.forward, dtype, resets=True)),
        ("backward", backward_source(function.vjp((True,)), dtype, resets=True)),
    ):
        kernel = load_functions(source, False)[name]
        pointers = {arg for arg in kernel.arg_names if arg.endswith("_at")}
        types = {arg: "*i64" if arg[:-3] in of_integers else f"*{number}" for arg in pointers}
        types = {arg: types.get(arg, "i32") for arg in kernel.arg_names}
        constants = {"BLOCK": gpu.BLOCK, "SAMPLES": gpu.SAMPLES}
        described = ASTSource(kernel, types | dict.fromkeys(constants, "constexpr"), constexprs=constants)
        compiled = triton.compile(described, target=GPUTarget("cuda", 90, 32))
        assert compiled.asm["cubin"]
        assert len(find_narrow_products(compiled.asm["ttir"])) == 1  # time x ticks: the number of firings
        assert "bar.sync" in compiled.asm["ptx"]
