"""The Triton kernels compiled: for GPUs that need not be here, and what only a GPU shows."""

import importlib.util

import pytest
import torch
from grammar import BINARY, UNARY
from narrow_products import find_narrow_products

from remanence._kernels.source_text import load_functions
from remanence.ops.scan import gpu, scan
from remanence.ops.scan.gpu_source import backward_source, forward_source
from remanence.ops.scan.trace import TracedStep

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")

TYPES = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}


def everything(state, inputs, params):
    """Every operation that a graph may hold, and a number that float32 does not."""
    (h,), (x,), (a,) = state, inputs, params
    total = a * h + 0.1 * torch.sign(x)
    for function in (*UNARY.values(), torch.floor, torch.ceil, torch.trunc, torch.round):
        total = total + function(x + h)
    for function in BINARY.values():
        total = total + function(x, total)
    return (torch.where((x > 0) ^ (h > 0), torch.maximum(total, torch.full_like(x, 0.1)), x**h),)


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Compiles a kernel by its name and source for a compute capability."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def compiled(name, source, dtype, capability):
        kernel = load_functions(source, False)[name]
        pointers = {arg: TYPES[dtype] for arg in kernel.arg_names if arg.endswith("_at")}
        pointers |= {arg: TYPES[torch.promote_types(dtype, torch.float32)] for arg in pointers if "d_param" in arg}
        types = {arg: f"*{pointers[arg]}" if arg in pointers else "i32" for arg in kernel.arg_names}
        constants = {"LANES": 32, "STEPS": 1}
        described = ASTSource(kernel, types | dict.fromkeys(constants, "constexpr"), constexprs=constants)
        return triton.compile(described, target=GPUTarget("cuda", capability, 32), options={"num_warps": 1})

    return compiled


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize(("dtype", "capability"), [(torch.float32, 90), (torch.float64, 80), (torch.bfloat16, 100)])
def test_compiles_for_gpus_that_are_not_here(compiler, dtype, capability):
    traced = TracedStep(everything, (1, 1, 1), 2, 3, dtype)
    forward = compiler("forward", forward_source(traced.forward, dtype), dtype, capability)
    graph = traced.vjp((True, True, True))
    backward = compiler("backward", backward_source(graph, dtype, ([True],) * 3, [True], [True]), dtype, capability)
    for kernel in (forward, backward):
        assert kernel.asm["cubin"]
        assert find_narrow_products(kernel.asm["ttir"]) == []
    assert ("0d3FB999999999999A" in forward.asm["ptx"]) == (dtype == torch.float64)  # 0.1 in all its 53 bits


@needs_triton
def test_no_other_size_or_alignment_compiles_anew(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    traced = TracedStep(everything, (1, 1, 1), 2, 3, torch.float32)
    source = backward_source(traced.vjp((True, True, True)), torch.float32, ([True],) * 3, [True], [True])
    parameters = load_functions(source, False)["backward"].params
    numbers = {parameter.name for parameter in parameters if parameter.do_not_specialize}
    assert numbers > {"time", "channels", "elements", "input0_batch", "above0_time"}
    for parameter in parameters:
        assert parameter.is_constexpr or parameter.name in numbers or parameter.do_not_specialize_on_alignment


def rotation(state, inputs, params):
    (q, r), (x,), (a,) = state, inputs, params
    return torch.tanh(a * q - r + x), torch.sigmoid(q * r) * a


def on_gpu(batch, time, channels, dtype=torch.float32, device="cuda"):
    shapes = [(batch, channels), (batch, channels), (batch, time, channels), (channels,)]
    return [torch.randn(shape, dtype=dtype, device=device, requires_grad=True) for shape in shapes]


def run(q, r, x, a, **options):
    return scan(rotation, [x], [q, r], [a], backend="gpu", **options)[0]


@pytest.mark.cuda
@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_gradcheck(checkpoint_every):
    tensors = on_gpu(2, 5, 3, torch.float64)
    assert torch.autograd.gradcheck(lambda *flat: run(*flat, checkpoint_every=checkpoint_every), tensors)


@pytest.mark.cuda
def test_the_same_call_gives_the_same_bits():
    tensors = on_gpu(64, 100, 70)
    first, second = (torch.autograd.grad(run(*tensors)[0].sum(), tensors) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.cuda
def test_many_elements_and_long_sequences_against_the_plain_loop():
    for batch, time, channels in ((300, 9, 1000), (3, 1500, 33)):
        tensors = on_gpu(batch, time, channels, torch.float64)
        q, r, x, a = tensors
        results = [run(*tensors), scan(rotation, [x], [q, r], [a], backend="reference")[0]]
        torch.testing.assert_close(*results)
        torch.testing.assert_close(*(torch.autograd.grad(states[1].sum(), tensors) for states in results))


@pytest.mark.cuda
def test_more_numbers_than_32_bits_can_count():
    if torch.cuda.mem_get_info()[0] < 12 * 2**30:
        pytest.skip("needs 12 GiB of GPU memory")
    batch, time, channels = 2**15 + 1, 1024, 64
    q, r, x, a = on_gpu(1, time, channels, torch.bfloat16)
    x = x.detach().expand(batch, -1, -1).requires_grad_()  # the same for all samples, and so is every result
    states, _ = scan(rotation, [x], [s.detach().expand(batch, -1) for s in (q, r)], [a.detach()], backend="gpu")
    (grad,) = torch.autograd.grad(states[0], x, torch.ones_like(a).expand(batch, time, -1))
    assert grad.numel() > 2**31
    for result in (*states, grad):
        assert result[0].any()
        assert torch.equal(result[-1], result[0])


@pytest.mark.cuda
def test_auto_takes_it():
    q, r, x, a = on_gpu(2, 3, 4)
    assert gpu.refuses(TracedStep(rotation, (2, 1, 1), 2, 4, x.dtype), x) is None
    torch.testing.assert_close(scan(rotation, [x], [q, r], [a])[0], run(q, r, x, a))


@pytest.mark.cuda
@pytest.mark.unchecked
def test_inside_torch_compile():
    def model(q, r, x, a):
        return run(q, r, 2 * x, a)[0].cumsum(1)

    tensors = on_gpu(2, 5, 3)
    results = [f(*tensors) for f in (model, torch.compile(model))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(result.sum(), tensors) for result in results))


@pytest.mark.cuda
def test_inside_a_cuda_graph():
    tensors = on_gpu(2, 5, 3)

    def forward_and_backward():
        states = run(*tensors)
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
        tensors[2].mul_(0.5)
    graph.replay()
    torch.testing.assert_close(captured, forward_and_backward())


@pytest.mark.cuda(devices=2)
def test_runs_where_its_tensors_are():
    tensors = on_gpu(2, 5, 3, device="cuda:1")
    with torch.cuda.device(0):
        states = run(*tensors)
        grads = torch.autograd.grad(states[0].sum(), tensors)
    assert {x.device for x in (*states, *grads)} == {torch.device("cuda:1")}
    assert all(x.isfinite().all() for x in (*states, *grads))
