"""Whole sequences in ``torch.export``: one node of the graph for the loop, any batch and any number of time steps."""

import io
import shutil
import warnings
from functools import partial
from typing import no_type_check

import pytest
import torch
from torch import nn as torch_nn
from torch.export import Dim, export, load, save
from torch.utils import _pytree as pytree

import remanence
from remanence import nn
from remanence.ops.dispatch import UntraceableWarning
from tests.nn.test_transforms import assert_same, build

LAYERS = [*nn.layers, "cff wired", "ltc rk4"]  # every loop once
BATCH, TIME = Dim("batch"), Dim("time")


def loops(program):
    return sum(node.target is torch.ops.higher_order.scan for node in program.graph.nodes)


def reloaded(program):
    file = io.BytesIO()
    save(program, file)
    file.seek(0)
    return load(file).module()


def over_any_length(module, x, *state, **options):
    """Export for any batch and time, from an example."""
    shapes = [pytree.tree_map(lambda leaf: {0: BATCH}, each) for each in state]
    of_options = {name: {0: BATCH, 1: TIME} if value.ndim == 2 else {0: BATCH} for name, value in options.items()}
    dynamic = {"x": {0: BATCH, 1: TIME}, **({"state": shapes[0]} if state else {}), **of_options}
    return export(module, (x, *state), options, dynamic_shapes=dynamic)


def draw(batch, time):
    return torch.randn(batch, time, 3, dtype=torch.float64)


def after_a_few_steps(layer, batch):
    return pytree.tree_map(lambda leaf: leaf.detach(), layer(draw(batch, 2))[1])


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("name", LAYERS)
def test_saved_and_loaded_it_runs_and_learns_at_any_length(name):
    layer = build(name)
    program = over_any_length(layer, draw(3, 5), after_a_few_steps(layer, 3))
    assert loops(program) == 1
    assert len(program.graph.nodes) < 200
    module = reloaded(program)
    for batch, time in ((1, 1), (4, 9)):
        x, state = draw(batch, time), after_a_few_steps(layer, batch)
        with torch.no_grad():
            assert_same(module(x, state), layer(x, state))

    def gradient(function):
        leaf = x.clone().requires_grad_()
        y, after = function(leaf, state)
        loss = torch.stack([each.square().sum() for each in (y, *pytree.tree_leaves(after))]).sum()
        return torch.autograd.grad(loss, leaf)

    assert_same(gradient(module), gradient(layer))


class Leaky(nn.Memory):
    """A layer of a user's: one step, and nothing else."""

    def __init__(self):
        super().__init__(3, 4)
        self.drive = torch_nn.Linear(3, 4)

    def _advance(self, x_t, state):
        h = 0.9 * state + 0.1 * self.drive(x_t)
        return h, h


MASKED = {
    "leaky": Leaky,
    **{name: partial(build, name) for name in ("persistent", "gru", "ltc", "fast_weights", "eunn")},
}


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("name", MASKED)
def test_padded_batches_with_resets(name):
    layer = MASKED[name]().double()

    def given(batch, time):
        reset, lengths = torch.rand(batch, time) < 0.3, torch.randint(time + 1, (batch,))
        spans = {"timespans": torch.rand(batch, time, dtype=torch.float64)} if layer.continuous_time else {}
        return draw(batch, time), {**spans, "lengths": lengths, "reset": reset}

    x, options = given(3, 5)
    program = over_any_length(layer, x, **options)
    assert loops(program) == 1
    module = program.module()
    for batch, time in ((2, 1), (4, 9)):
        x, options = given(batch, time)
        with torch.no_grad():
            assert_same(module(x, **options), layer(x, **options))


@pytest.mark.unchecked
def test_loops_of_several_sizes_in_one_program():
    class Stack(torch_nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.PersistentLinear(3, 7), nn.Elman(7, 5)

        def forward(self, x):
            return self.second(self.first(x)[0])[0]

    model = Stack().double()
    program = over_any_length(model, draw(3, 4))
    assert loops(program) == 2
    for batch, time in ((7, 5), (5, 7), (1, 1)):
        x = draw(batch, time)
        torch.testing.assert_close(program.module()(x), model(x))


@no_type_check
def mix(scale, state, inputs, params):
    (h, c), (x,), (weight, bias) = state, inputs, params
    c = torch.tanh(c + scale * x + h @ weight + bias)
    return c * torch.sigmoid(x), c


class Scan(torch_nn.Module):
    """A step with a matrix, parameters that are views of one tensor, and a number."""

    def __init__(self, step, scale=0.5):
        super().__init__()
        self.step, self.scale = step, scale
        self.weights = torch_nn.Parameter(torch.randn(4, 3, dtype=torch.float64))

    def forward(self, x):
        start = x.new_zeros(x.shape[0], 3)
        params = self.weights[:3], self.weights[3]
        return remanence.scan(partial(self.step, self.scale), [x], [start, start], params)


@pytest.mark.unchecked
def test_a_step_of_ones_own():
    module = Scan(mix)
    program = over_any_length(module, draw(3, 4))
    assert loops(program) == 1
    x = draw(2, 7)
    assert_same(program.module()(x), module(x))


@pytest.mark.unchecked
def test_what_pytorch_cannot_record_is_unrolled_and_said():
    @no_type_check
    def counting(scale, state, inputs, params):
        seen.append(1)
        return mix(scale, state, inputs, params)

    seen = []
    module, x = Scan(counting), draw(3, 4)
    with pytest.warns(UntraceableWarning, match="unrolled, at the length of the example"):
        program = export(module, (x,))
    assert loops(program) == 0
    assert_same(program.module()(x), module(x))


@pytest.mark.unchecked
def test_a_step_that_is_wrong_says_so_itself():
    module = Scan(lambda scale, state, inputs, params: state[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UntraceableWarning)
        with pytest.raises(ValueError, match="must return a state like the one it got"):
            export(module, (draw(3, 4),))


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["persistent", "gru", "ltc"])
def test_decomposed_to_core_operations(name):
    layer = build(name)
    program = over_any_length(layer, draw(3, 5)).run_decompositions()
    assert loops(program) == 1
    x = draw(2, 8)
    with torch.no_grad():
        assert_same(program.module()(x), layer(x))


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler")
def test_compiled_for_cpp(tmp_path):
    """For any number of time steps, with the batch of the example."""
    layer = build("gru").eval()
    with torch.no_grad():
        shapes = {"x": {1: TIME}, "state": None}
        program = export(layer, (draw(2, 5), after_a_few_steps(layer, 2)), dynamic_shapes=shapes)
        path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "gru.pt2"))
        run = torch._inductor.aoti_load_package(path)
        for time in (2, 9):
            x, state = draw(2, time), after_a_few_steps(layer, 2)
            assert_same(run(x, state), layer(x, state))
