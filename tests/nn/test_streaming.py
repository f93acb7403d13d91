"""A memory, exported and loaded back, steps to the same numbers as the layer itself."""

import io
import shutil

import pytest
import torch
from torch.export import Dim, export, load, save
from torch.utils import _pytree as pytree

from remanence import nn
from remanence.wiring import auto_ncp, lattice

WIRED = {
    "ltc with an NCP": lambda: nn.LTC(3, 12, wiring=auto_ncp(3, 12, outputs=2)),
    "cff on a lattice": lambda: nn.CFF(3, 6, wiring=lattice((2, 3))),
}


def make(name):
    return (WIRED[name]() if name in WIRED else nn.create(name, input_size=3, hidden_size=4)).eval()


def stepped(step, x, state):
    outputs = []
    for x_t in x.unbind(1):
        y_t, *state = step(x_t, *state)
        outputs.append(y_t)
    return torch.stack(outputs, 1), state


def exported(streaming, batch):
    """For any batch size, if that of the example is above 1."""
    shapes = streaming.dynamic_shapes(Dim("batch")) if batch > 1 else None
    with torch.no_grad():
        return export(streaming, (torch.randn(batch, 3), *streaming.initial_state(batch)), dynamic_shapes=shapes)


def reloaded(program):
    file = io.BytesIO()
    save(program, file)
    file.seek(0)
    return load(file).module()


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("name", [*nn.layers, *WIRED])
def test_exported_saved_and_loaded_it_steps_to_what_forward_gives(name):
    streaming = nn.Streaming(make(name))
    step = reloaded(exported(streaming, 2))
    for batch in (1, 5):
        x = torch.randn(batch, 6, 3)
        expected, final = streaming.layer(x)
        y, state = stepped(step, x, streaming.initial_state(batch))
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(state, pytree.tree_leaves(final))


def test_without_export_it_is_the_step():
    streaming = nn.Streaming(make("cff"))
    x = torch.randn(2, 6, 3)
    y, (q, r) = stepped(streaming, x, streaming.initial_state(2))
    expected, final = streaming.layer(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close((q, r), final)


@pytest.mark.unchecked
def test_weights_trained_after_the_export_do_not_change_it():
    layer = nn.CFF(3, 4).eval()
    streaming = nn.Streaming(layer)
    step, x, state = reloaded(exported(streaming, 2)), torch.randn(2, 3), streaming.initial_state(2)
    before = step(x, *state)[0]
    with torch.no_grad():
        layer.weight_ih.add_(1.0)
    torch.testing.assert_close(step(x, *state)[0], before, rtol=0, atol=0)
    assert not torch.allclose(streaming(x, *state)[0], before)


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler")
def test_compiled_for_cpp_it_steps_to_what_forward_gives(tmp_path):
    streaming = nn.Streaming(make("cff"))
    path = torch._inductor.aoti_compile_and_package(exported(streaming, 1), package_path=str(tmp_path / "cff.pt2"))
    x = torch.randn(1, 6, 3)
    y, _ = stepped(torch._inductor.aoti_load_package(path), x, streaming.initial_state(1))
    torch.testing.assert_close(y, streaming.layer(x)[0])


@pytest.mark.unchecked
def test_a_wrong_state_is_refused():
    streaming = nn.Streaming(make("cff"))
    with pytest.raises(ValueError, match="leaves"):
        streaming(torch.randn(2, 3), torch.zeros(2, 4))
