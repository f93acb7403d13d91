"""Triton's kernels against the plain loop: in Triton's interpreter on the CPU, and on a GPU where there is one."""

import importlib.util
from dataclasses import replace

import interpreted_libdevice
import pytest
import torch
from grammar import assert_same, problems
from hypothesis import HealthCheck, given, settings

import remanence
from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan import gpu, scan
from remanence.ops.scan.aten import Emitter
from remanence.ops.scan.backend import ScanBackend
from remanence.ops.scan.interpreter import evaluate
from remanence.ops.scan.pointwise_graph import Builder
from remanence.ops.scan.trace import TracedStep

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's, in the interpreter


@pytest.fixture(params=[pytest.param("interpreter", marks=needs_triton), pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request, monkeypatch):
    if request.param == "interpreter":
        interpreted_libdevice.use(monkeypatch)
        return "cpu"
    return "cuda"


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """What a kernel should have written and did not is NaN."""
    monkeypatch.setattr(
        gpu, "_allocate", lambda shape, dtype, device: torch.full(shape, torch.nan, dtype=dtype, device=device)
    )


def flip_flop(state, inputs, params):
    (q, r), (x, y), (w, m, c) = state, inputs, params
    for _ in range(2):
        inhibit_q, inhibit_r = w * torch.sigmoid(3 * (r - m)), w * torch.sigmoid(3 * (q - m))
        drive_q, drive_r = torch.sigmoid(x), torch.sigmoid(y)
        q, r = (c * q + drive_q) / (c + inhibit_q + drive_q), (c * r + drive_r) / (c + inhibit_r + drive_r)
    return q, r


def gated(state, inputs, params):
    (h,), (x, y), (a,) = state, inputs, params
    return (h + torch.sigmoid(x + a) * (torch.tanh(y) - h),)


def leaky(state, inputs, params):
    return (0.9 * state[0] + 0.1 * inputs[0],)


def drawn(device, batch, time, channels, counts=(2, 2, 3), dtype=torch.float64):
    states, inputs, params = counts
    shapes = [(batch, channels)] * states + [(batch, time, channels)] * inputs + [(channels,)] * params
    tensors = [(torch.rand(shape, dtype=torch.float64) + 0.2).to(device, dtype).requires_grad_() for shape in shapes]
    return tensors[states : states + inputs], tensors[:states], tensors[states + inputs :]


def sum_of_squares(states, final):
    return sum(x.square().sum() for x in states)


def compare(step, inputs, state, params, rtol=1e-9, loss=sum_of_squares, **options):
    """Values and gradients of the kernel are those of the plain loop."""
    wanted = [x for x in (*state, *inputs, *params) if x.requires_grad]
    results = []
    for backend in ("reference", "gpu"):
        states, final = scan(step, inputs, state, params, backend=backend, **(options if backend == "gpu" else {}))
        grads = torch.autograd.grad(loss(states, final), wanted, allow_unused=True, materialize_grads=True)
        results.append([*states, *final, *grads])
    for ours, theirs in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol)


def test_is_a_backend():
    assert isinstance(gpu, ScanBackend)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems())
def test_random_steps(device, problem):
    assert_same(replace(problem, device=device), "gpu")


@pytest.mark.parametrize(("batch", "time", "channels"), [(1, 1, 1), (3, 2, 1), (1, 9, 17), (2, 3, 17), (2, 4, 32)])
def test_odd_shapes(device, batch, time, channels):
    compare(flip_flop, *drawn(device, batch, time, channels))


@pytest.mark.parametrize("time", [1, 7, 8, 9, 17])
def test_any_time_beside_the_steps_at_once(device, time):
    compare(leaky, *drawn(device, 2, time, 3, (1, 1, 0)))


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, 3.5, 30.0, -30.0, 200.0, 1e-30, torch.inf, -torch.inf, torch.nan]


def every_operation():
    """A graph with every operation of state0, state1 and state2 as a result of its own."""
    builder = Builder()
    emitter = Emitter(builder)
    reals = [builder.add("state", value=index) for index in range(3)]
    truths = [emitter.gt(real, emitter.number(0.1)) for real in reals]
    results = []
    for op, row in OPERATIONS.items():
        operands = truths if row.takes_booleans else [truths[2], *reals] if op == "where" else reals
        results.append(emitter.real(builder.apply(op, *operands[: row.operands])))
    constants = [emitter.mul(reals[0], emitter.number(0.1)), emitter.maximum(reals[0], emitter.number(0.1))]
    truth_constants = [emitter.where(builder.add("and", truths[0], builder.constant(True)), *reals[:2])]
    return builder.build_graph([*results, *constants, *truth_constants, emitter.number(0.1), emitter.number(torch.inf)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_operation_at_special_values(device, dtype):
    graph = every_operation()
    count = len(graph.outputs)
    special = torch.tensor(SPECIAL, dtype=dtype, device=device)
    pairs = torch.cartesian_prod(special, special)
    state = [pairs[:, 0][None], pairs[:, 1][None], *[pairs.sum(1)[None]] * (count - 2)]
    traced = TracedStep(lambda state, inputs, params: state, (count, 1, 0), 1, len(pairs), dtype)
    traced.forward = graph
    ours = gpu.forward(traced, (torch.zeros_like(state[0])[:, None],), tuple(state), ())
    theirs = evaluate(graph, {"state": state}, state[0])
    tolerance = 3e-6 if dtype == torch.float32 else 1e-14
    for got, expected, op in zip(ours, theirs, [*OPERATIONS, *["constant"] * 5], strict=True):
        expected = expected.expand_as(state[0])
        torch.testing.assert_close(
            got[:, 0], expected, rtol=tolerance, atol=tolerance, equal_nan=True, msg=lambda text, op=op: f"{op}: {text}"
        )


@pytest.mark.parametrize("wanted", [[0], [3], [5], [1, 2], [0, 6]])
@pytest.mark.parametrize("loss", ["a sequence", "a final state"])
def test_only_some_gradients(device, wanted, loss):
    inputs, state, params = drawn(device, 2, 3, 3)
    for place, tensor in enumerate((*state, *inputs, *params)):
        tensor.requires_grad_(place in wanted)
    pick = {"a sequence": lambda states, final: states[1].sum(), "a final state": lambda states, final: final[0].sum()}
    compare(flip_flop, inputs, state, params, loss=pick[loss])


def test_what_a_step_does_not_use(device):
    inputs, state, params = drawn(device, 2, 3, 3)
    compare(lambda s, x, p: (x[1] * p[0], s[0]), inputs, state, params)
    compare(
        lambda s, x, p: (p[2] * s[1], s[1] * 0 + 1.5), inputs, state, params, loss=lambda states, final: final[0].sum()
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-6), (torch.float16, 2**-9)])
def test_half_types_are_computed_in_float32(device, dtype, tolerance):
    inputs, state, params = drawn(device, 2, 40, 3, (1, 2, 1), dtype)
    wide = [[x.detach().float().requires_grad_() for x in group] for group in (inputs, state, params)]

    def results_of(backend, group):
        states, final = scan(gated, *group, backend=backend)
        flat = [x for part in group for x in part]
        loss = torch.stack([x.float().sum() for x in states]).sum()
        return [*states, *final, *torch.autograd.grad(loss, flat)]

    results = [results_of("gpu", (inputs, state, params)), results_of("reference", wide)]
    assert {x.dtype for x in results[0]} == {dtype}
    for ours, theirs in zip(*results, strict=True):
        scale = theirs.abs().max().item()
        torch.testing.assert_close(ours.float(), theirs, rtol=tolerance, atol=tolerance * scale)


def test_any_strides(device):
    (x, y), state, params = drawn(device, 3, 5, 4)
    views = {
        "time first": x.detach().transpose(0, 1).contiguous().transpose(0, 1),
        "channels first": x.detach().transpose(1, 2).contiguous().transpose(1, 2),
        "every other step": torch.rand(3, 10, 8, dtype=x.dtype, device=device)[:, ::2, 1:5],
        "the same for all": torch.rand(5, 1, dtype=x.dtype, device=device).expand(3, 5, 4),
    }
    weight = torch.rand(4, 5, 3, dtype=x.dtype, device=device).permute(2, 1, 0)
    state = [state[0], torch.rand(4, 3, dtype=x.dtype, device=device).T.requires_grad_()]
    for view in views.values():
        view.requires_grad_()
        compare(
            flip_flop, [view, y], state, params, loss=lambda states, final: (states[0] * weight).sum() + states[1].sum()
        )


@pytest.mark.parametrize("every", [1, 3, 10])
def test_checkpoints(device, every):
    compare(flip_flop, *drawn(device, 2, 7, 3), checkpoint_every=every)


def test_parameters_of_a_module(device):
    gate = torch.nn.Parameter(torch.full((3,), 0.5, device=device))
    (x,), (h,), _ = drawn(device, 2, 4, 3, (1, 1, 0), torch.float32)
    compare(lambda s, x, p: (p[0] * s[0] + x[0],), [x], [h], [gate], rtol=1e-5)


def test_source_is_for_reading():
    inputs, state, params = drawn("cpu", 2, 3, 4, dtype=torch.float32)
    source = remanence.scan_source(flip_flop, inputs, state, params, backend="gpu")
    compile(source, "source", "exec")
    for line in (
        "def step(",
        "def forward(",
        "def gradients(",
        "def backward(",
        "tl.exp(-input0)",
        "tl.store(d_param2_at",
    ):
        assert line in source
    assert max(map(len, source.splitlines())) <= 120
    assert source == remanence.scan_source(flip_flop, inputs, state, params, backend="gpu")


@pytest.mark.unchecked
def test_says_what_it_needs(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    inputs, state, params = drawn("cpu", 1, 2, 3)
    traced = TracedStep(flip_flop, (2, 2, 3), 1, 3, torch.float64)
    if HAS_TRITON:
        with pytest.raises(ValueError, match="its tensors are on cpu, and it runs on CUDA GPUs"):
            scan(flip_flop, inputs, state, params, backend="gpu")
        assert "on meta" in str(gpu.refuses(traced, torch.empty(1, device="meta")))
        assert "float8" in str(gpu.refuses(traced, torch.empty(1, dtype=torch.float8_e5m2)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="it needs triton, which comes with"):
        scan(flip_flop, inputs, state, params, backend="gpu")
