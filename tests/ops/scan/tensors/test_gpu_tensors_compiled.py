"""Triton's kernels of steps on tensors compiled: for GPUs that need not be here, and what only a GPU shows."""

import importlib.util
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cells import CELLS, delta, flat, grads, gru, lstm, problem, slstm

import remanence
from remanence import nn
from remanence._kernels.source_text import load_functions
from remanence.ops.scan.tensors import gpu
from remanence.ops.scan.tensors.gpu_source import backward_source, forward_source
from remanence.ops.scan.tensors.passes import make_both
from remanence.ops.scan.tensors.tensor_trace import TracedTensorStep
from remanence.ops.scan.triton_step import real_type

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")

TYPES = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}
REAL = ("scratch", "sums", "free", "packed", "saved", "factor", "d_state")
"""Arguments in the type of the arithmetic."""


def cfc(state, inputs, params):
    """Closed-form continuous time (Hasani et al. 2022), with a backbone of one layer."""
    (h,), (drive, time), (backbone, weight, bias) = state, inputs, params
    z = 1.7159 * torch.tanh(0.666 * (drive + F.linear(h, backbone)))
    first, second, a, b = F.linear(z, weight, bias).chunk(4, -1)
    gate = torch.sigmoid(a * time + b)
    return (torch.tanh(first) * (1 - gate) + gate * torch.tanh(second),)


def choose(state, inputs, params):
    """Places from a table, sums of several of them, a maximum, and a product with a matrix of each sample."""
    (h,), (x,), (weight,) = state, inputs, params
    order = torch.arange(h.shape[1]) // 2
    z = (h @ weight)[:, order] + h.roll(1, 1)
    return (F.softmax(torch.einsum("bij,bj->bi", x, z) - z.amax(1, keepdim=True), 1),)


SHAPES = {
    gru: ([(16,)], [(48,)], [(48, 16), (48,)]),
    lstm: ([(16,), (16,)], [(64,)], [(64, 16)]),
    slstm: ([(2, 16)] * 4, [(2, 64)], [(2, 16, 64)]),
    delta: ([(16, 16), (16,)], [(16,), (16,), (16,), (1,)], []),
    cfc: ([(16,)], [(24,), (1,)], [(24, 16), (64, 24), (64,)]),
    choose: ([(12,)], [(12, 12)], [(12, 12)]),
}


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Compiles a kernel for a compute capability."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def compiled(source, dtype, capability):
        kernel = load_functions(source.text, False)[source.name]
        real = TYPES[torch.promote_types(dtype, torch.float32)]
        types = dict.fromkeys(kernel.arg_names, "i32")
        types |= {name: f"*{TYPES[dtype]}" for name in types if name.endswith("_at")}
        types |= {name: f"*{real}" for name in types if name.endswith("_at") and name.startswith(REAL)}
        types |= {name: "*i32" for name in types if name.startswith("table")}
        options = {"num_warps": source.tile.warps, "num_stages": 1}
        return triton.compile(ASTSource(kernel, types), target=GPUTarget("cuda", capability, 32), options=options)

    return compiled


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize(
    ("capability", "dtype", "batch"),
    [(80, torch.float64, 2), (90, torch.bfloat16, 3), (90, torch.float32, 2000), (100, torch.float32, 600)],
)
@pytest.mark.parametrize("step", SHAPES)
def test_compiles_for_gpus_that_are_not_here(compiler, step, capability, dtype, batch):
    states, inputs, params = SHAPES[step]
    real = torch.promote_types(dtype, torch.float32)
    traced = TracedTensorStep(step, (tuple(states), tuple(inputs), tuple(params)), real)
    there, back = make_both(traced)
    tiles = [gpu.choose_tile(each.graph, real, batch) for each in (there, back)]
    above = [True] * back.states
    sources = forward_source(there, tiles[0], real_type(real)), backward_source(back, tiles[1], real_type(real), above)
    for source in sources:
        found = compiler(source, dtype, capability)
        assert found.asm["cubin"]
        assert "bar.sync" in found.asm["ptx"] or source.tile.warps == 1
    if step in (gru, lstm, cfc):
        assert ("tl.dot" in sources[0].text) == (batch > 500)


@needs_triton
def test_no_other_size_or_alignment_compiles_anew(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    traced = TracedTensorStep(gru, (((16,),), ((48,),), ((48, 16), (48,))), torch.float32)
    back = make_both(traced)[1]
    source = backward_source(back, gpu.choose_tile(back.graph, torch.float32, 8), "tl.float32", [True])
    parameters = load_functions(source.text, False)["backward"].params
    numbers = {parameter.name for parameter in parameters if parameter.do_not_specialize}
    assert numbers > {"time", "batch", "input0_batch", "above0_time", "d_state0_batch"}
    for parameter in parameters:
        is_ours = parameter.name == "scratch_at"  # always aligned
        assert parameter.name in numbers or parameter.do_not_specialize_on_alignment or is_ours


@needs_triton
def test_as_few_barriers_as_it_takes():
    """One before what reads a product, one at the end of a step, and one before the first."""
    traced = TracedTensorStep(gru, (((16,),), ((48,),), ((48, 16), (48,))), torch.float32)
    there, _ = make_both(traced)
    source = forward_source(there, gpu.choose_tile(there.graph, torch.float32, 8), "tl.float32")
    assert source.text.count("tl.debug_barrier()") == 3


def on_gpu(step, batch=5, time=6, dtype=torch.float64):
    return problem(step, batch, time, dtype, "cuda")


def run(step, groups, backend: Any = "gpu", **options):
    return flat(remanence.scan(step, *groups, backend=backend, **options))


@pytest.mark.cuda
@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_gradcheck(checkpoint_every):
    inputs, state, params = on_gpu(gru, 2, 5)

    def call(x, h, weight, bias):
        return run(gru, ([x], [h], [weight, bias]), checkpoint_every=checkpoint_every)

    assert torch.autograd.gradcheck(call, (*inputs, *state, *params))
    assert torch.autograd.gradgradcheck(call, (*inputs, *state, *params))


@pytest.mark.cuda
@pytest.mark.parametrize("step", CELLS)
def test_the_same_call_gives_the_same_bits(step):
    groups = on_gpu(step, 300, 50, torch.float32)
    tensors = [x for group in groups for x in group]
    first, second = (grads(run(step, groups), tensors) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def wide(hidden, batch, time):
    shapes = [(batch, time, 3 * hidden)], [(batch, hidden)], [(3 * hidden, hidden), (3 * hidden,)]
    scale = hidden**-0.5
    return tuple(
        [(scale * torch.randn(shape, dtype=torch.float64, device="cuda")).requires_grad_() for shape in group]
        for group in shapes
    )


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("hidden", "batch", "time"),
    [(16, 1, 300), (64, 32, 100), (64, 700, 20), (100, 5000, 5), (256, 64, 20), (300, 1000, 7)],
)
def test_many_sizes_against_the_plain_loop(hidden, batch, time):
    """Matrices in registers and in memory, products by sums and by tl.dot, a few and many samples in a program."""
    groups = wide(hidden, batch, time)
    tensors = [x for group in groups for x in group]
    found = [[*states, *grads(states, tensors)] for states in (run(gru, groups), run(gru, groups, "reference"))]
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-8)


@pytest.mark.cuda
@pytest.mark.parametrize("step", CELLS)
def test_auto_takes_it(step, recwarn):
    groups = on_gpu(step, dtype=torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(run(step, groups, "auto"), run(step, groups), strict=True))
    assert not [each for each in recwarn if issubclass(each.category, remanence.UntraceableWarning)]


@pytest.mark.cuda
@pytest.mark.unchecked
def test_inside_torch_compile():
    def model(x, h, weight, bias):
        return remanence.scan(gru, [2 * x], [h], [weight, bias])[0][0].cumsum(1)

    inputs, state, params = on_gpu(gru, dtype=torch.float32)
    tensors = [*inputs, *state, *params]
    results = [f(*tensors) for f in (model, torch.compile(model, fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(result.sum(), tensors) for result in results))


@pytest.mark.cuda
def test_inside_a_cuda_graph():
    groups = on_gpu(gru, dtype=torch.float32)
    tensors = [x for group in groups for x in group]

    def forward_and_backward():
        states = run(gru, groups)
        return [*states, *torch.autograd.grad(states[0].sum(), tensors)]

    side = torch.cuda.Stream()  # compiles, and warms up as capturing asks for
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        forward_and_backward()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = forward_and_backward()
    with torch.no_grad():
        tensors[0].mul_(0.5)
    graph.replay()
    torch.testing.assert_close(captured, forward_and_backward())


@pytest.mark.cuda
def test_under_autocast():
    """Arithmetic stays in float32."""
    groups = on_gpu(gru, dtype=torch.float32)
    tensors = [x for group in groups for x in group]
    expected = run(gru, groups)
    with torch.autocast("cuda", torch.bfloat16):
        got = run(gru, groups)
    torch.testing.assert_close([*got, *grads(got, tensors)], [*expected, *grads(expected, tensors)])


def ordered(order, state, inputs, params):
    (h,), (x,), (weight,) = state, inputs, params
    return (torch.tanh((h @ weight)[:, order] + x),)


@pytest.mark.cuda
def test_a_table_on_the_gpu(monkeypatch):
    """It is not read at every call, and noticed when it changes."""
    traced, init = [], TracedTensorStep.__init__

    def count(self, *arguments):
        traced.append(self)
        init(self, *arguments)

    monkeypatch.setattr(TracedTensorStep, "__init__", count)
    groups = [torch.randn(3, 4, 6, device="cuda")], [torch.randn(3, 6, device="cuda")], [torch.randn(6, 6).cuda()]
    order = torch.tensor([1, 2, 3, 4, 5, 0], device="cuda")
    step = partial(ordered, order)
    for change in range(2):
        for _ in range(2):
            torch.testing.assert_close(run(step, groups), run(step, groups, "reference"), rtol=1e-4, atol=1e-5)
        assert len(traced) == change + 1
        order[0], order[1] = 2, 1


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gru", {}),
        ("alstm", {"copies": 3}),
        ("cfc", {"mixed_memory": True}),
        ("orthogonal", {}),
        ("urnn", {}),
        ("eunn", {}),
        ("fast_weights", {}),
    ],
)
@pytest.mark.parametrize("resets", [False, True])
def test_layers_against_those_on_the_cpu(name, options, resets, monkeypatch):
    torch.manual_seed(0)
    layer = nn.create(name, input_size=3, hidden_size=16, dtype=torch.float64, **options)
    x, reset = torch.randn(4, 20, 3, dtype=torch.float64), torch.rand(4, 20) < 0.1
    calls: list[int] = []
    forward = gpu.forward
    monkeypatch.setattr(gpu, "forward", lambda *given, **others: calls.append(1) or forward(*given, **others))
    found = []
    for device in ("cpu", "cuda"):
        layer = layer.to(device).requires_grad_()
        given = x.to(device).requires_grad_()
        y, _ = layer(given, reset=reset.to(device) if resets else None)
        gradients = torch.autograd.grad(y.square().sum(), [given, *layer.parameters()], allow_unused=True)
        found.append([z.cpu() for z in (y, *gradients) if z is not None])
    torch.testing.assert_close(*found, rtol=1e-7, atol=1e-7)
    assert bool(calls) == (name != "gru" or resets)


@pytest.mark.cuda(devices=2)
def test_runs_where_its_tensors_are():
    groups = problem(gru, 5, 6, torch.float32, "cuda:1")
    with torch.cuda.device(0):
        states = run(gru, groups)
        found = grads(states, [x for group in groups for x in group])
    assert {x.device for x in (*states, *found)} == {torch.device("cuda:1")}
    assert all(x.isfinite().all() for x in (*states, *found))
