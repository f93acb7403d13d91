"""The arguments of a scan, the choice of a backend, and gradients through it."""

import itertools
import random
import warnings

import numpy as np
import pytest
import torch

import remanence
from remanence._kernels.launch import launch
from remanence.ops.scan import UntraceableWarning, scan


def step(state, inputs, params):
    (q, r), (x, y), (a, b) = state, inputs, params
    return torch.tanh(a * q - b * r + x), torch.sigmoid(q * r + y * b)


def tensors(batch=2, time=5, channels=3, dtype=torch.float64):
    inputs = [torch.randn(batch, time, channels, dtype=dtype, requires_grad=True) for _ in range(2)]
    state = [torch.randn(batch, channels, dtype=dtype, requires_grad=True) for _ in range(2)]
    params = [torch.randn(channels, dtype=dtype, requires_grad=True) for _ in range(2)]
    return inputs, state, params


def flat(result):
    return [*result[0], *result[1]]


def test_reference_is_a_loop_written_by_hand():
    inputs, state, params = tensors()
    (q, r), (a, b) = state, params
    for x, y in zip(inputs[0].unbind(1), inputs[1].unbind(1), strict=True):
        q, r = torch.tanh(a * q - b * r + x), torch.sigmoid(q * r + y * b)
    states, final = scan(step, inputs, state, params, backend="reference")
    for got, expected in zip((states[0][:, -1], states[1][:, -1], *final), (q, r, q, r), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("checkpoint_every", [None, 1, 2, 5, 9])
def test_gradcheck(graph_backend, checkpoint_every):
    def run(*flat_tensors):
        state, inputs, params = flat_tensors[:2], flat_tensors[2:4], flat_tensors[4:]
        return tuple(flat(scan(step, inputs, state, params, backend=graph_backend, checkpoint_every=checkpoint_every)))

    inputs, state, params = tensors()
    assert torch.autograd.gradcheck(run, (*state, *inputs, *params))


@pytest.mark.parametrize("wanted", [[0], [3], [5], [1, 2], [0, 4]])
@pytest.mark.parametrize("checkpoint_every", [None, 2])
@pytest.mark.parametrize("output", [0, 3])
def test_only_some_gradients(graph_backend, wanted, checkpoint_every, output):
    grads = []
    for backend in ("reference", graph_backend):
        torch.manual_seed(0)
        inputs, state, params = tensors()
        everything = [*state, *inputs, *params]
        for place, tensor in enumerate(everything):
            tensor.requires_grad_(place in wanted)
        results = flat(scan(step, inputs, state, params, backend=backend, checkpoint_every=checkpoint_every))
        grads.append(torch.autograd.grad(results[output].square().sum(), [everything[place] for place in wanted]))
    torch.testing.assert_close(grads[0], grads[1])


def test_checkpoints_keep_less(graph_backend):
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    inputs, state, params = tensors(time=64)
    for every in (None, 8):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            scan(step, inputs, state, params, backend=graph_backend, checkpoint_every=every)
        states_kept = sum(kept) - sum(tensor.numel() for tensor in (*inputs, *state, *params))
        assert states_kept == 2 * 2 * 3 * (64 if every is None else 8)


def test_no_graph_is_built_without_need(graph_backend):
    inputs, state, params = tensors()
    with torch.no_grad():
        assert not any(x.requires_grad for x in flat(scan(step, inputs, state, params, backend=graph_backend)))


@pytest.mark.parametrize("backend", ["auto", "reference", "graph"])
@pytest.mark.parametrize(("batch", "time", "channels"), [(2, 0, 3), (0, 4, 3), (2, 4, 0), (1, 1, 1)])
@pytest.mark.usefixtures("graph_backend")
def test_sizes_of_none_and_one(backend, batch, time, channels):
    inputs, state, params = tensors(batch, time, channels)
    states, final = scan(step, inputs, state, params, backend=backend)
    assert [x.shape for x in states] == [(batch, time, channels)] * 2
    assert [x.shape for x in final] == [(batch, channels)] * 2
    if time == 0:
        torch.testing.assert_close(final, tuple(state))
    torch.stack([x.sum() for x in (*states, *final)]).sum().backward()


def mixing(state, inputs, params):
    return (state[0] + inputs[0].cumsum(1) * params[0],)


@pytest.mark.unchecked
def test_auto_runs_what_cannot_be_fused_and_says_why_once():
    x, h, a = torch.randn(2, 4, 3), torch.zeros(2, 3), torch.rand(3)
    expected = scan(mixing, [x], [h], [a], backend="reference")
    with pytest.warns(UntraceableWarning, match=r"mixing as a plain loop.*cumsum"):
        torch.testing.assert_close(scan(mixing, [x], [h], [a]), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(scan(mixing, [x], [h], [a]), expected)
    with pytest.raises(ValueError, match="'cpu' cannot run this step: cumsum"):
        scan(mixing, [x], [h], [a], backend="cpu")
    with pytest.raises(ValueError, match="cannot be fused: cumsum"):
        remanence.scan_source(mixing, [x], [h], [a])


@pytest.mark.parametrize("first", ["training", "inference"])
def test_a_step_is_fused_whether_it_is_first_run_in_training_or_in_inference_mode(first):
    def linear_step(state, inputs, params):
        return (torch.tanh(torch.nn.functional.linear(state[0], params[0]) + inputs[0]),)

    inputs, state, params = [torch.randn(2, 5, 3)], [torch.randn(2, 3)], [torch.randn(3, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UntraceableWarning)
        for inference in (first == "inference", first != "inference"):
            with torch.inference_mode(inference):
                states, _ = scan(linear_step, inputs, state, params)
                expected, _ = scan(linear_step, inputs, state, params, backend="reference")
                torch.testing.assert_close(states[0], expected[0])


@pytest.mark.unchecked
def test_wrong_arguments():
    inputs, state, params = tensors(dtype=torch.float32)
    with pytest.raises(ValueError, match=r"at least one input"):
        scan(step, [], state, params)
    with pytest.raises(ValueError, match=r"\[batch, time, \.\.\.\].*got \[2\]"):
        scan(step, [inputs[0][:, 0, 0]], state, params)
    with pytest.raises(ValueError, match=r"inputs\[1\] to be \[2, 5, \.\.\.\].*got \[2, 4, 3\]"):
        scan(step, [inputs[0], inputs[1][:, 1:]], state, params)
    with pytest.raises(ValueError, match=r"state\[1\] to be \[2, \.\.\.\].*got \[1, 3\]"):
        scan(step, inputs, [state[0], state[1][:1]], params)
    with pytest.raises(ValueError, match=r"params\[0\] to be \[\.\.\.\] of torch.float32.*got \[3\] of torch.float64"):
        scan(step, inputs, state, [params[0].double(), params[1]])
    with pytest.raises(ValueError, match=r"floating point, got .* torch.int64"):
        scan(step, [x.long() for x in inputs], state, params)
    with pytest.raises(ValueError, match="unknown backend 'cuda': use auto"):
        scan(step, inputs, state, params, backend="cuda")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="checkpoint_every must be a positive integer or None, got 0"):
        scan(step, inputs, state, params, checkpoint_every=0)
    with pytest.raises(ValueError, match=r"must return a state like the one it got"):
        scan(lambda s, x, p: (s[0],), inputs, state, params, backend="reference")


def test_the_module_is_the_function():
    inputs, state, params = tensors()
    torch.testing.assert_close(
        remanence.scan(step, inputs, state, params, backend="reference"),
        scan(step, inputs, state, params, backend="reference"),
    )


def test_autocast_computes_in_float32(graph_backend):
    inputs, state, params = tensors(dtype=torch.float32)
    expected = scan(step, inputs, state, params, backend="reference")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states, final = scan(step, [inputs[0].bfloat16(), inputs[1]], state, params, backend=graph_backend)
    assert states[0].dtype == final[0].dtype == torch.float32
    torch.testing.assert_close(states, expected[0], rtol=0.05, atol=0.05)


@pytest.mark.unchecked
def test_inside_torch_compile(graph_backend):
    inputs, state, params = tensors()

    def model(x, y, q, r, a, b):
        states, _ = scan(step, (2 * x, y), (q, r), (a, b), backend=graph_backend)
        return states[0].cumsum(1)

    arguments = (*inputs, *state, *params)
    torch._dynamo.reset()
    outputs = [f(*arguments) for f in (model, torch.compile(model, backend="aot_eager"))]
    torch.testing.assert_close(*outputs)
    grads = [torch.autograd.grad(output.sum(), arguments) for output in outputs]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_second_derivatives(graph_backend, checkpoint_every):
    def run(x, q, a):
        states, _ = scan(step, [x, y], [q, r], [a, b], backend=graph_backend, checkpoint_every=checkpoint_every)
        return states[0]

    (x, y), (q, r), (a, b) = tensors(batch=1, time=3, channels=2)
    assert torch.autograd.gradgradcheck(run, (x, q, a))


def _draws_from_python(state, inputs, params):
    return (state[0] + random.random() * inputs[0],)


def _draws_from_numpy(state, inputs, params):
    return (state[0] + np.random.rand() * inputs[0],)  # noqa: NPY002


def _draws_from_torch(state, inputs, params):
    return (state[0] + torch.rand(()) * inputs[0],)


_calls = itertools.count()


def _counts(state, inputs, params):
    return (state[0] + next(_calls) * inputs[0],)


@pytest.mark.unchecked  # the checks draw from Python's random numbers
@pytest.mark.parametrize("step", [_draws_from_python, _draws_from_numpy, _draws_from_torch, _counts])
def test_a_step_that_is_not_a_function_of_its_arguments_runs_as_a_loop(step):
    def run(backend):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        (y,), _ = scan(step, [torch.ones(1, 6, 2)], [torch.zeros(1, 2)], backend=backend)
        return y.diff(dim=1)

    with pytest.warns(UntraceableWarning, match="random number|something else in every call"):
        found = run("auto")
    assert found.unique().numel() > 4  # not frozen at the first value
    if step is not _counts:
        torch.testing.assert_close(found, run("reference"))  # tracing has drawn nothing
    with pytest.raises(ValueError, match="cannot run this step"):
        run("cpu")


@pytest.mark.parametrize("backend", ["cpu", "newton"])
def test_an_explicit_backend_says_what_it_cannot_read(backend):
    x, h = torch.ones(1, 6, 2), torch.zeros(1, 2)

    def leaky(state, inputs, params):
        return (0.9 * state[0] + inputs[0],)

    run = torch.func.vmap(lambda x: scan(leaky, [x], [h], backend=backend)[0][0])
    with pytest.raises(ValueError, match=r"cannot run this step: torch\.func"):
        run(x[None])


@pytest.mark.unchecked
def test_a_kernel_is_not_given_the_address_of_a_tensor_without_memory():
    with pytest.raises(RuntimeError, match="no plain memory"):
        launch(None, torch.float32, 1, torch.empty(3, device="meta"))  # pyright: ignore[reportArgumentType]


def test_double_backward_where_one_input_comes_from_another():
    def step(state, inputs, params):
        return (torch.tanh(state[0] * inputs[0] + inputs[1] ** 2),)

    def curvature(backend):
        def loss(x):
            (y,), _ = scan(step, [1.5 * x, (1.5 * x) ** 2], [x[:, 0]], backend=backend)
            return y.square().sum()

        x = torch.linspace(-1, 1, 24, dtype=torch.float64).view(2, 4, 3).requires_grad_()
        (grad,) = torch.autograd.grad(loss(x), x, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), x)[0]

    torch.testing.assert_close(curvature("cpu"), curvature("reference"))
