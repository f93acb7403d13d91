"""All inputs in one tensor, all parameters in one tensor: the same as one by one."""

import pytest
import torch

from remanence.ops.scan import layout, scan


def step(state, inputs, params):
    (q, r), (x, y), (a, b) = state, inputs, params
    return torch.tanh(a * q - b * r + x), torch.sigmoid(q * r + y * b)


def results(backend, inputs, params, inputs_in_one, params_in_one, every=None):
    x, p = inputs.clone().requires_grad_(), params.clone().requires_grad_()
    state = [torch.full((3, 5), value, dtype=x.dtype) for value in (0.1, 0.2)]
    given = x if inputs_in_one else x.unbind(2), p if params_in_one else p.unbind(0)
    states, final = scan(step, given[0], state, given[1], backend=backend, checkpoint_every=every)
    loss = torch.stack([(i + 1) * s.square().sum() for i, s in enumerate((*states, *final))]).sum()
    return [*states, *final, *torch.autograd.grad(loss, (x, p))]


@pytest.mark.usefixtures("graph_backend")
@pytest.mark.parametrize("backend", ["cpu", "graph", "newton", "reference"])
@pytest.mark.parametrize("in_one", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("every", [None, 4])
def test_in_one_tensor(backend, in_one, every):
    inputs = torch.randn(3, 6, 2, 5, dtype=torch.float64)
    params = torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(
        results(backend, inputs, params, in_one[0], in_one[1], every),
        results("reference", inputs, params, False, False),
    )


def test_second_derivatives():
    def run(x, p):
        return scan(step, x, state, p, backend="cpu")[0][0]

    x, p = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((1, 3, 2, 2), (2, 2)))
    state = [torch.full((1, 2), 0.1, dtype=torch.float64)] * 2
    assert torch.autograd.gradgradcheck(run, (x, p))


@pytest.mark.parametrize("backend", ["cpu", "auto"])
def test_gradients_of_parts_in_another_order(backend):
    x = torch.randn(3, 6, 2, 5, requires_grad=True)
    state, params = [torch.zeros(3, 5)] * 2, torch.randn(2, 5)
    grads = []
    for name in ("reference", backend):
        (q, _), _ = scan(step, x.unbind(2)[::-1], state, params, backend=name)
        grads.append(torch.autograd.grad(q.sum(), x))
    torch.testing.assert_close(*grads)


@pytest.mark.unchecked
def test_wrong_shapes():
    state, x, p = [torch.zeros(3, 5)] * 2, torch.randn(3, 6, 2, 5), torch.randn(2, 5)
    with pytest.raises(ValueError, match=r"\[batch, time, inputs, channels\] of floating point, got \[3, 6, 5\]"):
        scan(step, x[:, :, 0], state, p)
    with pytest.raises(ValueError, match="at least one input and one state, got 0 and 2"):
        scan(step, x[:, :, :0], state, p)
    with pytest.raises(ValueError, match=r"params\[0\] to be \[2, 5\].*got \[2, 4\]"):
        scan(step, x, state, p[:, :4])


def test_the_gradient_of_one_tensor_is_written_in_place(monkeypatch):
    x = torch.randn(3, 6, 8, requires_grad=True)
    monkeypatch.setattr(layout.torch, "stack", None)  # what would copy it
    (q, _), _ = scan(step, x.unflatten(-1, (2, -1)), [torch.zeros(3, 4)] * 2, torch.randn(2, 4), backend="cpu")
    assert torch.autograd.grad(q.sum(), x)[0].shape == x.shape
