"""Cells that people know, and what must hold for every step on tensors."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cells import CELLS, ODD, drawn, flat, grads, gru, lstm, problem, slstm

import remanence
from remanence._kernels import buffers, kernel
from remanence.ops.scan.tensors import cpu, totals


def compare(step, given, tolerance=1e-9, **options):
    inputs, state, params = given
    tensors = [x for x in (*inputs, *state, *params) if x.requires_grad]
    expected = flat(remanence.scan(step, inputs, state, params, backend="reference"))
    got = flat(remanence.scan(step, inputs, state, params, backend="cpu", **options))
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(grads(got, tensors), grads(expected, tensors), rtol=tolerance, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, 17, 65])
@pytest.mark.parametrize("step", CELLS)
def test_any_batch(step, batch):
    compare(step, problem(step, batch, 3))


@pytest.mark.parametrize("step", CELLS)
def test_float32_is_as_exact_as_the_loop(step):
    given = problem(step, dtype=torch.float32)
    doubled = [[x.detach().double().requires_grad_() for x in group] for group in given]
    expected = flat(remanence.scan(step, *doubled, backend="reference"))
    got = flat(remanence.scan(step, *given, backend="cpu"))
    torch.testing.assert_close(got, [x.float() for x in expected], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.nn.GRU, torch.nn.LSTM])
@pytest.mark.parametrize("hidden", [1, 3, 17, 65])
def test_the_layers_of_pytorch(kind, hidden):
    layer = kind(4, hidden, batch_first=True, dtype=torch.float64)
    x, h, c = drawn(3, 7, 4), drawn(3, hidden), drawn(3, hidden)
    weight_ih, weight_hh, bias_ih, bias_hh = layer.all_weights[0]
    if kind is torch.nn.GRU:
        expected, _ = layer(x, h[None])
        drive = F.linear(x, weight_ih, bias_ih)
        (got,), _ = remanence.scan(gru, [drive], [h], [weight_hh, bias_hh], backend="cpu")
    else:
        expected, _ = layer(x, (h[None], c[None]))
        drive = F.linear(x, weight_ih, bias_ih + bias_hh)
        (got, _), _ = remanence.scan(lstm, [drive], [h, c], [weight_hh], backend="cpu")
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    wanted = [x, h, *layer.parameters()]
    ours, theirs = grads([got], wanted), grads([expected], wanted)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_slstm_is_that_of_the_paper():
    """Equations 8 to 17 word by word in NumPy, for one head, without the stabiliser."""
    x, weight = np.random.default_rng(0).normal(size=(5, 12)), np.random.default_rng(1).normal(size=(3, 12))
    h, c, n, hidden = np.zeros(3), np.zeros(3), np.zeros(3), []
    for x_t in x:
        z, i, f, o = np.split(x_t + h @ weight, 4)
        i, f, o = np.exp(i), 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-o))
        c, n = f * c + i * np.tanh(z), f * n + i
        h = o * c / n
        hidden.append(h)
    state = [torch.zeros(1, 1, 3, dtype=torch.float64) for _ in range(4)]
    state[3] = state[3] - 1e9  # nothing was written yet
    inputs = [torch.tensor(x)[None, :, None]]
    (got, *_), _ = remanence.scan(slstm, inputs, state, [torch.tensor(weight)[None]], backend="cpu")
    np.testing.assert_allclose(got[0, :, 0].numpy(), np.stack(hidden), rtol=1e-6)


@pytest.mark.parametrize("step", CELLS)
@pytest.mark.parametrize("every", [1, 2, 4, 9])
def test_checkpoints(step, every):
    compare(step, problem(step), checkpoint_every=every)


@pytest.mark.parametrize("step", [gru, slstm])
def test_a_long_sequence_is_gone_through_in_parts(step, monkeypatch):
    monkeypatch.setattr(totals, "CHUNK", 5 * 2 * 8 * 16)
    compare(step, problem(step, time=11))


@pytest.mark.parametrize("step", CELLS)
def test_threads_do_not_matter(step):
    inputs, state, params = problem(step, batch=19)
    results = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            got = flat(remanence.scan(step, inputs, state, params, backend="cpu"))
            results.append([*got, *grads(got, [*inputs, *state, *params])])
        finally:
            torch.set_num_threads(before)
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


def test_another_number_of_threads_on_the_way_back():
    """A block has as many samples as on the way there, whatever the threads are now."""
    inputs, state, params = problem(gru, batch=kernel.vector_width(64) + 1)
    tensors, before = [*inputs, *state, *params], torch.get_num_threads()
    expected = grads(flat(remanence.scan(gru, inputs, state, params, backend="reference")), tensors)
    for there, back in ((1, 2), (2, 1)):
        try:
            torch.set_num_threads(there)
            got = flat(remanence.scan(gru, inputs, state, params, backend="cpu"))
            torch.set_num_threads(back)
            torch.testing.assert_close(grads(got, tensors), expected)
        finally:
            torch.set_num_threads(before)


@pytest.mark.parametrize("step", CELLS)
def test_any_strides(step):
    inputs, state, params = problem(step)
    inputs = [x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_() for x in inputs]
    state = [s.detach()[:1].expand_as(s).requires_grad_() for s in state]
    params = [p.detach().repeat_interleave(2, -1)[..., ::2].requires_grad_() for p in params]
    compare(step, (inputs, state, params))


@pytest.mark.parametrize("step", CELLS)
def test_what_lies_in_fresh_memory_does_not_matter(step, monkeypatch):
    def poisoned(*shape, dtype):
        return torch.full(shape, torch.nan, dtype=dtype)

    monkeypatch.setattr(cpu, "allocate", poisoned)
    compare(step, problem(step))
    assert buffers.allocate is not cpu.allocate


def test_gradients_of_gradients():
    inputs, state, params = problem(gru, 2, 3)

    def run(x, h, weight, bias):
        return remanence.scan(gru, [x], [h], [weight, bias], backend="cpu")[0][0]

    assert torch.autograd.gradcheck(run, (*inputs, *state, *params))
    assert torch.autograd.gradgradcheck(run, (*inputs, *state, *params))


def test_one_scan_behind_the_other():
    inputs, state, (weight,) = problem(lstm)
    other, bias = drawn(12, 4), drawn(12)

    def run(backend):
        (h, _), _ = remanence.scan(lstm, inputs, state, [weight], backend=backend)
        (h,), final = remanence.scan(
            gru, [h.repeat(1, 1, 4)], [drawn(5, 4).detach() * 0], [other, bias], backend=backend
        )
        return [h, *final]

    tensors = [*inputs, *state, weight, other, bias]
    torch.testing.assert_close(grads(run("cpu"), tensors), grads(run("reference"), tensors))


@pytest.mark.parametrize("step", ODD)
def test_results_that_are_something_else_too(step):
    compare(step, ([drawn(3, 4, 2)], [drawn(3, 2), drawn(3, 2)], [drawn(2, 2)]))


@pytest.mark.parametrize("step", CELLS)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_reset_is_a_run_cut_by_hand(step, backend):
    inputs, state, params = problem(step, batch=2, time=7)
    reset = torch.zeros(2, 7, dtype=torch.bool)
    reset[0, 3] = reset[1, 0] = reset[1, 5] = True
    states, final = remanence.scan(step, inputs, state, params, reset=reset, backend=backend)
    expected = []
    for sample, cuts in ((0, (0, 3, 7)), (1, (0, 5, 7))):
        pieces = []
        for begin, end in itertools.pairwise(cuts):
            piece = [x[sample : sample + 1, begin:end] for x in inputs]
            start = [s[sample : sample + 1] for s in state]
            pieces.append(remanence.scan(step, piece, start, params, backend="reference")[0])
        expected.append([torch.cat(parts, 1) for parts in zip(*pieces, strict=True)])
    expected = [torch.cat(parts) for parts in zip(*expected, strict=True)]
    torch.testing.assert_close(list(states), expected)
    torch.testing.assert_close(list(final), [s[:, -1] for s in expected])
    tensors = [*inputs, *state, *params]
    torch.testing.assert_close(grads(states, tensors), grads(expected, tensors))


@pytest.mark.unchecked
def test_a_reset_of_another_shape():
    inputs, state, params = problem(gru)
    for reset in (torch.zeros(5, 7, dtype=torch.bool), torch.zeros(5, 6), [True]):
        with pytest.raises(ValueError, match=r"reset must be \[batch, time\] = \[5, 6\] of torch.bool, got"):
            remanence.scan(gru, inputs, state, params, reset=reset)  # pyright: ignore[reportArgumentType]


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda s, x, p: (s[0] - s[0].mean(0),), "mean"),
        (lambda s, x, p: (s[0] + s[0].flip(0),), "flip"),
        (lambda s, x, p: (s[0].sort(-1).values,), "sort"),
        (lambda s, x, p: (s[0] if s[0].sum() > 0 else -s[0],), "decides"),
        (lambda s, x, p: (F.dropout(s[0] @ p[0]),), "random"),
        (lambda s, x, p: (s[0].cumsum(-1) @ p[0],), "cumsum"),
        (lambda s, x, p: (s[0][:1].expand_as(s[0]) @ p[0],), "batch"),
        (lambda s, x, p: (p[0][:1].expand(4, 3).relu(),), "a result"),
        (lambda s, x, p: (torch.cat([s[0], s[0]])[: len(s[0])],), "batch"),
    ],
)
def test_what_is_refused_and_why(step, reason):
    given = [torch.randn(4, 5, 2)], [torch.randn(4, 3)], [torch.randn(3, 3)]
    with pytest.raises(ValueError, match=f"cannot run this step.*{reason}"):
        remanence.scan(step, *given, backend="cpu")


def test_the_generated_code_can_be_read():
    text = remanence.scan_source(gru, *problem(gru))
    assert text.count("def forward(") == text.count("def backward(") == 1
    assert "muladd(broadcast(w" in text
