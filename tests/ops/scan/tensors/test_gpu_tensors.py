"""Triton's kernels of steps on tensors against the plain loop: in Triton's interpreter, and on a GPU where one is."""

import importlib.util
from dataclasses import replace
from typing import Any

import interpreted_libdevice
import pytest
import races
import torch
import torch.nn.functional as F
from cells import CELLS, ODD, drawn, flat, grads, gru, lstm, problem, slstm
from grammar import assert_same
from grammar_of_tensors import LAYOUT, PRODUCTS, REDUCTIONS, TensorProblem, tensor_problems
from hypothesis import HealthCheck, given, settings

import remanence
from remanence import nn
from remanence.ops import dispatch, recurrence
from remanence.ops.scan.tensors import gpu, totals
from remanence.ops.scan.tensors.tensor_backend import MODULES, TensorBackend, load
from remanence.ops.scan.tensors.tensor_trace import TracedTensorStep
from remanence.ops.scan.tensors.triton_memory import Hazards

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's, in the interpreter
UNCHECKED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


@pytest.fixture(params=[pytest.param("interpreter", marks=needs_triton), pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request, monkeypatch):
    if request.param == "cuda":
        return "cuda"
    interpreted_libdevice.use(monkeypatch)
    races.detect(monkeypatch)
    monkeypatch.setattr(gpu, "PROGRAMS", 2)  # several samples in a tile, as with a large batch
    return "cpu"


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """What a kernel should have written and did not is NaN."""
    monkeypatch.setattr(gpu, "_allocate", lambda like, shape, dtype: like.new_full(shape, torch.nan, dtype=dtype))


def compare(step, given, tolerance=1e-9, **options):
    inputs, state, params = given
    tensors = [x for x in (*inputs, *state, *params) if x.requires_grad]
    expected = flat(remanence.scan(step, inputs, state, params, backend="reference"))
    got = flat(remanence.scan(step, inputs, state, params, backend="gpu", **options))
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(grads(got, tensors), grads(expected, tensors), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", MODULES)
def test_is_a_backend(name):
    assert isinstance(load(name), TensorBackend)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({**PRODUCTS, **REDUCTIONS, **LAYOUT}))
def test_operation(device, name, monkeypatch):
    """Each alone, on a vector, and on a matrix."""
    monkeypatch.setattr(gpu, "PROGRAMS", 1)
    program = ((name, 0, 3, 2), (name, 1, 0, 3))
    problem = TensorProblem(program, ((6,), (2, 3)), ((3, 4), (5,)), 3, 2, torch.float64, 1)
    assert_same(replace(problem, device=device), "gpu")


@pytest.mark.slow
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(problem=tensor_problems())
def test_random_steps(device, problem):
    every = None if problem.seed % 3 else 2
    assert_same(replace(problem, device=device), "gpu", checkpoint_every=every)


@pytest.mark.parametrize("step", CELLS)
@pytest.mark.parametrize("batch", [1, 17])
def test_any_batch(device, step, batch):
    compare(step, problem(step, batch, 2, device=device))


@pytest.mark.parametrize("step", [gru, slstm])
def test_float32(device, step):
    compare(step, problem(step, 3, 3, torch.float32, device), tolerance=2e-5)


@pytest.mark.parametrize("hidden", [16, 17, pytest.param(33, marks=pytest.mark.slow)])
def test_products_of_tiles(device, hidden):
    """Sizes for tl.dot: of one tile, of a tile and a row, of several."""
    given = [drawn(17, 2, 3 * hidden)], [drawn(17, hidden)], [drawn(3 * hidden, hidden, scale=0.2), drawn(3 * hidden)]
    given = tuple([x.detach().to(device).requires_grad_() for x in group] for group in given)
    compare(gru, given)


def matrices(state, inputs, params):
    """A product of two matrices of each sample, and of one with that of all samples on either side."""
    (a,), (x,), (left, right) = state, inputs, params
    return (torch.tanh(left @ torch.tanh(a @ x) @ right + a @ torch.tanh(x.mT @ a)),)


@pytest.mark.parametrize("size", [3, 16, pytest.param(18, marks=pytest.mark.slow)])
def test_products_of_matrices_of_each_sample(device, size):
    shapes = [(3, 2, size, size)], [(3, size, size)], [(size, size), (size, size)]
    given = [[drawn(*shape, scale=0.3) for shape in group] for group in shapes]
    compare(matrices, tuple([x.detach().to(device).requires_grad_() for x in group] for group in given))


@pytest.mark.parametrize("step", ODD)
def test_results_that_are_something_else_too(device, step):
    shapes = [(3, 4, 2)], [(3, 2), (3, 2)], [(2, 2)]
    compare(step, tuple([drawn(*shape, device=device).detach().requires_grad_() for shape in g] for g in shapes))


@pytest.mark.parametrize("every", [1, 2])
def test_checkpoints(device, every):
    compare(lstm, problem(lstm, 3, 5, device=device), checkpoint_every=every)


@pytest.mark.parametrize("step", [gru, pytest.param(slstm, marks=pytest.mark.slow)])
def test_a_long_sequence_is_gone_through_in_parts(device, step, monkeypatch):
    monkeypatch.setattr(totals, "CHUNK", 3 * 2 * 8 * 16)
    compare(step, problem(step, 3, time=5, device=device))


@pytest.mark.parametrize("step", CELLS)
def test_any_strides(device, step):
    inputs, state, params = problem(step, 3, 3, device=device)
    inputs = [x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_() for x in inputs]
    inputs[0] = inputs[0].detach()[:1].expand_as(inputs[0]).requires_grad_()
    state = [s.detach()[:1].expand_as(s).requires_grad_() for s in state]
    params = [p.detach().repeat_interleave(2, -1)[..., ::2].requires_grad_() for p in params]
    compare(step, (inputs, state, params))


@pytest.mark.parametrize(("dtype", "every"), [(torch.bfloat16, None), (torch.float16, 2)])
def test_half_types_are_computed_in_float32(device, dtype, every):
    given = problem(gru, 3, 4, dtype, device)
    wide = [[x.detach().float().requires_grad_() for x in group] for group in given]

    def results_of(backend, group, **options):
        (y,), (last,) = remanence.scan(gru, *group, backend=backend, **options)
        flat = [x for part in group for x in part]
        return [y, last, *torch.autograd.grad(y.float().sum() + last.float().sum(), flat)]

    results = [results_of("gpu", given, checkpoint_every=every), results_of("reference", wide)]
    assert {x.dtype for x in results[0]} == {dtype}
    for ours, theirs in zip(*results, strict=True):
        scale = theirs.abs().max().item()
        torch.testing.assert_close(ours.float(), theirs, rtol=2**-6, atol=2**-6 * scale)


@pytest.mark.parametrize("loss", [lambda states, final: states[1].sum(), lambda states, final: final[0].sum()])
def test_gradients_of_some_results(device, loss):
    inputs, state, params = problem(lstm, 2, 3, device=device)
    wanted, found = [*inputs, *state, *params], []
    for backend in ("reference", "gpu"):
        result = loss(*remanence.scan(lstm, inputs, state, params, backend=backend))
        found.append(torch.autograd.grad(result, wanted, allow_unused=True, materialize_grads=True))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("step", [gru, pytest.param(slstm, marks=pytest.mark.slow)])
def test_resets_and_lengths(device, step):
    inputs, state, params = problem(step, 3, 4, device=device)
    reset = torch.zeros(3, 4, dtype=torch.bool, device=device)
    reset[0, 2] = reset[1, 0] = True
    options: dict[str, Any] = {"reset": reset, "lengths": torch.tensor([4, 3, 0], device=device)}
    wanted, found = [*inputs, *state, *params], []
    for backend in ("reference", "gpu"):
        result = flat(remanence.scan(step, inputs, state, params, backend=backend, **options))
        found.append([*result, *grads(result, wanted)])
    torch.testing.assert_close(*found)


def rolled(state, inputs, params):
    (h,), (x,), (weight,) = state, inputs, params
    return (torch.tanh((h @ weight)[:, torch.tensor([1, 1, 0, 1, 3, 0])] + x.roll(1, 1)),)


def test_numbers_that_change_their_places(device):
    """Several of them come from one place, so that its gradient is a sum."""
    given = [drawn(3, 3, 6)], [drawn(3, 6)], [drawn(6, 6)]
    compare(rolled, tuple([x.detach().to(device).requires_grad_() for x in group] for group in given))


def clipped(state, inputs, params):
    (h,), (x,), () = state, inputs, params
    return (torch.relu(x - h.amax(-1, keepdim=True)) + F.softmax(h * x, -1),)


def test_what_is_not_a_number_spreads(device):
    inputs, state, params = [drawn(2, 3, 5)], [drawn(2, 5)], []
    inputs[0].data[0, 1, 2] = state[0].data[1, 4] = torch.nan
    inputs, state = ([x.detach().to(device) for x in group] for group in (inputs, state))
    results = [remanence.scan(clipped, inputs, state, params, backend=name)[0][0] for name in ("reference", "gpu")]
    torch.testing.assert_close(*results, equal_nan=True)
    assert results[0][0, 0].isfinite().all()
    assert results[0][0, 1:].isnan().all()


LAYERS = {
    "gru": {},
    "elman": {},
    "alstm": {"copies": 2},
    "cfc": {"backbone_units": 5},
    "cfc mixed": {"mixed_memory": True},
    "orthogonal": {},
    "urnn": {},
    "fast_weights": {"form": "matrix"},
}


@needs_triton
def test_a_missing_barrier_is_found(monkeypatch):
    def step(state, inputs, params):  # its kernel has not been built yet
        return gru(state, inputs, params)

    interpreted_libdevice.use(monkeypatch)
    races.detect(monkeypatch)
    monkeypatch.setattr(Hazards, "must_wait", lambda hazards, reads, writes: False)
    with pytest.raises(Exception, match="that another thread may not have written yet"):
        remanence.scan(step, *problem(gru, 2, 2), backend="gpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_layers(device, name, monkeypatch):
    """With resets, so that all of them are scans."""
    torch.manual_seed(0)
    layer = nn.create(name.split()[0], input_size=3, hidden_size=4, dtype=torch.float64, **LAYERS[name]).to(device)
    x = torch.randn(3, 4, 3, dtype=torch.float64, device=device, requires_grad=True)
    reset = torch.tensor([[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool, device=device)
    calls, found, forward = [], [], gpu.forward
    monkeypatch.setattr(recurrence, "is_compiled", lambda *tensors, shortest=1: True)  # as on a GPU
    monkeypatch.setattr(gpu, "forward", lambda *given, **options: calls.append(1) or forward(*given, **options))
    for backend in ("reference", "gpu"):
        monkeypatch.setattr(dispatch, "_pick_fastest", lambda like, name=backend: name)
        y, _ = layer(x, reset=reset)
        gradients = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()], allow_unused=True)
        found.append([y, *(g for g in gradients if g is not None)])
        assert len(calls) == (backend == "gpu")
    torch.testing.assert_close(*found, rtol=1e-7, atol=1e-7)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("MOST_OPERATIONS", "operations"),
        ("LARGEST_SAMPLE", "numbers in each sample"),
        ("LARGEST_MATRICES", "numbers in its matrices"),
    ],
)
def test_what_is_too_large_for_one_kernel(device, monkeypatch, limit, reason):
    given = problem(gru, 2, 2, device=device)
    monkeypatch.setattr(gpu, limit, 8)
    with pytest.raises(ValueError, match=rf"cannot run this step: it has \d+ {reason}, and one kernel .* 8 at most"):
        remanence.scan(gru, *given, backend="gpu")


def test_the_generated_code_can_be_read():
    text = remanence.scan_source(gru, *problem(gru, dtype=torch.float32), backend="gpu")
    compile(text, "source", "exec")
    assert text.count("def forward(") == text.count("def backward(") == 1
    assert "libdevice.tanh(" in text
    assert text == remanence.scan_source(gru, *problem(gru, dtype=torch.float32), backend="gpu")


def scaled(state, inputs, params):
    """A step that makes tensors of its own, from the parameters and from nothing."""
    (h,), (x,), (weight,) = state, inputs, params
    return (torch.tanh(h @ (weight / weight.norm()) + x + torch.linspace(0, 1, 3, dtype=h.dtype, device=h.device)[2]),)


def test_tensors_of_the_step_are_made_where_the_others_are():
    traced = TracedTensorStep(scaled, (((3,),), ((3,),), ((3, 3),)), torch.float32)
    values = traced.forward.program.run([torch.empty(3, 3, device="meta")], torch.device("meta"))
    assert traced.forward.free
    assert {values.get(ref).device.type for ref in traced.forward.free} == {"meta"}
