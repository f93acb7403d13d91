import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.analysis import fast_attention
from remanence.nn import Elman, FastWeights


@settings(deadline=None, max_examples=20)
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 6),
    inner_steps=st.integers(1, 3),
    decay=st.sampled_from([0.0, 0.7, 1.0]),
    nonlinearity=st.sampled_from(["relu", "tanh"]),
)
def test_what_is_attended_to_is_what_the_matrix_recalls(batch, time, inner_steps, decay, nonlinearity):
    layer = FastWeights(2, 5, inner_steps=inner_steps, decay=decay, nonlinearity=nonlinearity).double()
    x, state = torch.randn(batch, time, 2).double(), None
    found = fast_attention(layer, x)
    for t, x_t in enumerate(x.unbind(1)):
        before = layer.initial_state(batch) if state is None else state
        iterates = layer.inner_loop(x_t, before)
        y, state = layer.step(x_t, state)
        torch.testing.assert_close(found.states[:, t], y)
        for s in range(inner_steps):
            read = torch.einsum("bij,bj->bi", before[1], iterates[:, s])  # the layer's own A
            torch.testing.assert_close(torch.einsum("bu,bui->bi", found.inner[:, s, t], found.states), read)
    assert torch.equal(found.inner, found.inner.tril(-1))
    assert torch.equal(found.weights, found.inner[:, -1])


def test_picture_has_the_symbols_at_both_axes():
    layer, x = FastWeights(2, 5), torch.randn(2, 4, 2)
    axes = fast_attention(layer, x).plot(symbols="a1?a", row=1, inner=0)
    assert [label.get_text() for label in axes.get_xticklabels()] == list("a1?a")
    assert [label.get_text() for label in axes.get_yticklabels()] == list("a1?a")
    fast_attention(FastWeights(2, 5, nonlinearity="tanh"), x).plot()


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match="FastWeights layer, got Elman"):
        fast_attention(Elman(2, 5), torch.randn(1, 4, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"\[batch, time, 2\].*\[1, 4, 3\]"):
        fast_attention(FastWeights(2, 5), torch.randn(1, 4, 3))
    with pytest.raises(ValueError, match=r"4 symbols.*got 2"):
        fast_attention(FastWeights(2, 5), torch.randn(1, 4, 2)).plot(symbols="ab")
