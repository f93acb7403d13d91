"""The kernels for synapses against the plain formulas, in both layouts."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import TOLERANCE, assert_spreads_along_synapses, gradients, leaf, synapses

from remanence import nn
from remanence.ops import ltc as synaptic
from remanence.ops.episodes import Episodes
from remanence.ops.ltc import Edges, SynapseParameters, dense, sparse
from remanence.ops.ltc import operation as dispatch

LAYOUTS = [dense, sparse]


@pytest.fixture(params=LAYOUTS, ids=["dense", "sparse"])
def layout(request, monkeypatch):
    monkeypatch.setattr(dispatch, "_choose_cheapest", lambda *_: request.param)
    return request.param


def assert_equal(function, leaves, dtype):
    """Values and gradients of both ways; memory that kernels write to is full of NaN before."""
    expected = function("reference")
    wanted = gradients(expected, leaves)
    with pytest.MonkeyPatch.context() as patch:
        for kind in LAYOUTS:
            patch.setattr(kind, "allocate", lambda *shape, dtype: torch.full(shape, float("nan"), dtype=dtype))
        found = function("cpu")
        grads = gradients(found, leaves)
    close = partial(torch.testing.assert_close, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    close(found, expected)
    close(grads, wanted)
    with torch.no_grad():
        close(function("cpu"), expected)


shapes = st.fixed_dictionaries(
    {
        "receivers": st.integers(1, 40),
        "senders": st.integers(1, 20),
        "density": st.sampled_from([0.0, 0.2, 1.0]),
        "batch": st.integers(1, 20),
        "time": st.integers(1, 4),
        "dtype": st.sampled_from([torch.float32, torch.float64]),
        "seed": st.integers(0, 99),
    }
)


@pytest.mark.parametrize("kind", LAYOUTS, ids=["dense", "sparse"])
@settings(max_examples=25, deadline=None)
@given(shape=shapes)
def test_sums_over_synapses_equal_the_formula(kind, shape):
    torch.manual_seed(shape["seed"])
    dtype = shape["dtype"]
    edges, parameters = synapses(shape["receivers"], shape["senders"], shape["density"], dtype)
    x = leaf(shape["batch"], shape["time"], shape["senders"], dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "_choose_cheapest", lambda *_: kind)
        assert_equal(
            lambda backend: synaptic.sum_synapses(x, edges, parameters, backend=backend), [x, *parameters], dtype
        )


@pytest.mark.parametrize("kind", LAYOUTS, ids=["dense", "sparse"])
@settings(max_examples=25, deadline=None)
@given(shape=shapes, sub_steps=st.integers(1, 3), timed=st.booleans(), strided=st.booleans(), resetting=st.booleans())
def test_evolve_equals_the_loop(kind, shape, sub_steps, timed, strided, resetting):
    torch.manual_seed(shape["seed"])
    dtype, batch, time, neurons = shape["dtype"], shape["batch"], shape["time"], shape["receivers"]
    edges, parameters = synapses(neurons, neurons, shape["density"], dtype)
    v, capacitance = leaf(batch, neurons, dtype=dtype), leaf(neurons, dtype=dtype, shift=0.5)
    outside = [leaf(batch, time, neurons, dtype=dtype, shift=0.1) for _ in range(2)]
    timespans = leaf(batch, time, dtype=dtype, shift=0.2) if timed else None
    leaves = [v, *outside, capacitance, *parameters, *([timespans] if timed else [])]
    episodes = None
    if resetting:
        leaves.append(leaf(batch, neurons, dtype=dtype))
        episodes = Episodes(torch.rand(batch, time) < 0.4, (leaves[-1],), torch.randint(0, time + 1, (batch,)))
    # What a user hands over may lie in memory as it likes.
    start, conductance, current = (x.mT.contiguous().mT if strided else x for x in (v, *outside))

    def run(backend):
        options = {"sub_steps": sub_steps, "timespans": timespans, "backend": backend, "episodes": episodes}
        return synaptic.evolve(start, conductance, current, capacitance, edges, parameters, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "_choose_cheapest", lambda *_: kind)
        assert_equal(run, leaves, dtype)


@pytest.mark.slow
def test_gradients_and_second_derivatives(layout):
    edges, parameters = synapses(4, 4, 0.6, torch.float64)
    v, capacitance = leaf(2, 4, dtype=torch.float64), leaf(4, dtype=torch.float64, shift=0.5)
    p, q = (leaf(2, 2, 4, dtype=torch.float64, shift=0.1) for _ in range(2))

    def run(v, p, q, capacitance, *parameters):
        return synaptic.evolve(v, p, q, capacitance, edges, SynapseParameters(*parameters), sub_steps=2)

    inputs = (v, p, q, capacitance, *parameters)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs, atol=1e-4)

    def run_anew(first, v, p, q, capacitance, *parameters):
        episodes = Episodes(torch.tensor([[False, True], [True, False]]), (first,), torch.tensor([2, 1]))
        return synaptic.evolve(
            v, p, q, capacitance, edges, SynapseParameters(*parameters), sub_steps=2, episodes=episodes
        )

    assert torch.autograd.gradcheck(run_anew, (leaf(2, 4, dtype=torch.float64), *inputs))

    def sums(x, *parameters):
        return synaptic.sum_synapses(x, edges, SynapseParameters(*parameters))

    assert torch.autograd.gradcheck(sums, (p, *parameters))
    assert torch.autograd.gradgradcheck(sums, (p, *parameters), atol=1e-4)


def test_only_what_is_asked_for(layout):
    edges, parameters = synapses(4, 4, 1.0, torch.float32)
    parameters = SynapseParameters(*(value.detach() for value in parameters))
    v, p, q = torch.zeros(2, 4), torch.rand(2, 3, 4), leaf(2, 3, 4, dtype=torch.float32)
    y, last = synaptic.evolve(v, p, q, torch.ones(4), edges, parameters, sub_steps=2)
    last.sum().backward()  # and nothing from y
    assert q.grad is not None
    assert q.grad[:, 0].abs().sum() > 0
    assert torch.equal(y[:, -1], last)


def test_the_number_of_threads_changes_nothing_but_rounding(layout):
    edges, parameters = synapses(9, 9, 0.5, torch.float64)
    v, outside = torch.zeros(33, 9, dtype=torch.float64), torch.rand(33, 5, 9, dtype=torch.float64)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y, last = synaptic.evolve(v, outside, outside, outside[0, 0] + 1, edges, parameters, sub_steps=3)
            results.append((y, *gradients((y, last), parameters)))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(results[2], results[0], rtol=1e-12, atol=1e-12)


def test_few_synapses_are_visited_one_by_one_and_many_in_rows():
    full, _ = synapses(64, 64, 1.0, torch.float32)
    few, _ = synapses(64, 64, 0.05, torch.float32)
    assert dispatch._choose_cheapest(full, 32, torch.float32) is dense
    assert dispatch._choose_cheapest(few, 32, torch.float32) is sparse


def test_extreme_voltages_stay_finite(layout):
    edges, parameters = synapses(5, 5, 1.0, torch.float32)
    v = torch.full((3, 5), 1e6)
    y, _ = synaptic.evolve(v, torch.ones(3, 2, 5), torch.zeros(3, 2, 5), torch.ones(5), edges, parameters, sub_steps=1)
    assert y.isfinite().all()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(y.sum(), parameters))


@pytest.mark.unchecked
def test_a_backend_that_cannot_run_says_so():
    edges, parameters = synapses(3, 3, 1.0, torch.float32)
    half = SynapseParameters(*(value.to(torch.bfloat16) for value in parameters))
    with pytest.raises(ValueError, match=r"float32 and float64 on the CPU, and the tensors are torch\.bfloat16"):
        synaptic.sum_synapses(torch.rand(2, 3, dtype=torch.bfloat16), edges, half, backend="cpu")
    with pytest.raises(ValueError, match="unknown backend 'fast'"):
        synaptic.sum_synapses(torch.rand(2, 3), edges, parameters, backend="fast")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_layers_run_through_the_kernels(density, monkeypatch):
    called = []
    for kind in LAYOUTS:
        for name in ("sum_synapses", "evolve", "evolve_backward", "sum_synapses_backward"):
            original = getattr(kind, name)
            monkeypatch.setattr(kind, name, lambda *a, f=original, **k: called.append(f.__name__) or f(*a, **k))
    matrix = (torch.rand(6, 6) < density).int().numpy()
    nn.LTC(3, 6, wiring=matrix)(torch.rand(2, 4, 3))[0].sum().backward()
    assert called == ["sum_synapses", "evolve", "evolve_backward", "sum_synapses_backward"]


@pytest.mark.unchecked
def test_what_does_not_fit_is_refused_before_a_kernel_reads_it():
    edges, parameters = synapses(3, 3, 1.0, torch.float32)
    good: dict[str, Any] = {"v": torch.zeros(2, 3), "conductance": torch.rand(2, 4, 3), "current": torch.rand(2, 4, 3)}
    good |= {"capacitance": torch.ones(3), "parameters": parameters, "timespans": torch.ones(2, 4), "sub_steps": 2}
    wrong = {
        "v": torch.zeros(2, 2),
        "conductance": torch.rand(2, 4, 2),
        "current": torch.rand(2, 4, 3).double(),
        "capacitance": torch.ones(2),
        "timespans": torch.ones(2, 3),
        "sub_steps": 0,
        "parameters.slope": parameters._replace(slope=parameters.slope[:-1]),
    }
    synaptic.evolve(edges=edges, **good)
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            synaptic.evolve(edges=edges, **{**good, name.split(".")[0]: value})
    with pytest.raises(ValueError, match=r"expected x to be \[2, 3\]"):
        synaptic.sum_synapses(torch.rand(2, 4), edges, parameters)


@pytest.mark.parametrize(
    ("receiver", "sender", "message"),
    [([1, 0], [0, 0], "sorted"), ([0, 0], [1, 1], "twice"), ([0, 2], [0, 0], "0 to 1, got 0 to 2")],
)
def test_edges_that_kernels_cannot_take_are_refused(receiver, sender, message):
    with pytest.raises(ValueError, match=message):
        Edges(torch.tensor(receiver), torch.tensor(sender), 2, 2)


def test_no_time_steps_leave_the_state(layout):
    edges, parameters = synapses(3, 3, 1.0, torch.float32)
    v, none = torch.rand(2, 3), torch.rand(2, 0, 3)
    y, last = synaptic.evolve(v, none, none, torch.ones(3), edges, parameters, sub_steps=1)
    assert y.shape == (2, 0, 3)
    assert torch.equal(last, v)


def test_what_is_not_finite_spreads_along_synapses(layout):
    assert_spreads_along_synapses("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_steps_of_no_length(layout, dtype):
    edges, parameters = synapses(9, 9, 0.5, dtype)
    v, capacitance = leaf(5, 9, dtype=dtype), leaf(9, dtype=dtype, shift=0.5)
    p, q = (leaf(5, 4, 9, dtype=dtype, shift=0.1) for _ in range(2))
    timespans = torch.rand(5, 4, dtype=dtype) * (torch.rand(5, 4) < 0.5)
    timespans[0] = 0

    def run(backend):
        options = {"sub_steps": 3, "timespans": timespans, "backend": backend}
        return synaptic.evolve(v, p, q, capacitance, edges, parameters, **options)

    assert_equal(run, [v, p, q, capacitance, *parameters], dtype)
    states, last = run("cpu")
    assert torch.equal(last[0], v[0])
    assert torch.equal(states[0], v[0].expand(4, -1))
    timespans.requires_grad_()
    assert all(torch.isfinite(grad).all() for grad in gradients(run("auto"), [v, p, timespans, capacitance]))
    assert_equal(run, [v, timespans], dtype)
