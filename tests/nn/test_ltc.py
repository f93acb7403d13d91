"""Liquid neurons against the ncps package and against SciPy's solution of the differential equation."""

import ncps.torch
import numpy as np
import pytest
import torch
from ncps.wirings import NCP, AutoNCP, FullyConnected, Random
from scipy.integrate import solve_ivp

from remanence import nn, wiring

WIRINGS = {
    "fully_connected": lambda: FullyConnected(5),
    "random": lambda: Random(7, output_dim=3, sparsity_level=0.5),
    "ncp": lambda: NCP(5, 4, 2, 3, 2, 2, 3),
    "auto_ncp": lambda: AutoNCP(12, 3),
}


def twins(name, **options):
    """A layer of ncps with all its parameters drawn anew, and ours with the same."""
    theirs = ncps.torch.LTC(3, WIRINGS[name](), **options).double()
    with torch.no_grad():
        for name_, parameter in theirs.rnn_cell.named_parameters():
            if "mask" not in name_:
                parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
    return theirs, nn.LTC.from_ncps(theirs)


@pytest.mark.parametrize("name", sorted(WIRINGS))
@pytest.mark.parametrize("timed", [False, True])
def test_equals_ncps(name, timed):
    theirs, ours = twins(name)
    x = torch.randn(1, 9, 3, dtype=torch.float64, requires_grad=True)
    spans = torch.rand(1, 9, dtype=torch.float64) + 0.1 if timed else None
    outputs = []
    # Theirs takes one timespan a sample and step only in a batch of one.
    expected, state = theirs(x, timespans=spans)
    y, v = ours(x, timespans=spans)
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(v, state, rtol=1e-6, atol=1e-6)
    weights = torch.randn_like(y)
    for layer, result in ((theirs.rnn_cell, expected), (ours, y)):
        leaves = [x, layer.leak_potential if layer is ours else layer.vleak]
        outputs.append(torch.autograd.grad((weights * result).sum(), leaves, retain_graph=True))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", sorted(WIRINGS))
def test_gradients_of_synapses_equal_those_of_ncps(name):
    theirs, ours = twins(name, implicit_param_constraints=False)
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    cell = theirs.rnn_cell
    weights = torch.randn(2, 6, ours.output_size, dtype=torch.float64)
    for layer in (theirs, ours):
        (weights * layer(x)[0]).sum().backward()
    for synapses, prefix in ((ours.synapses, ""), (ours.sensory, "sensory_")):
        at = synapses.sender, synapses.receiver
        grads = {part: getattr(cell, f"{prefix}{part}").grad[at] for part in ("w", "sigma", "mu", "erev")}
        values = {part: getattr(cell, f"{prefix}{part}").detach()[at] for part in ("w", "erev")}
        # Ours are logarithms: d/d log w = w d/dw, and E = sign |E|.
        torch.testing.assert_close(synapses.log_weight.grad, grads["w"] * values["w"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(synapses.log_potential.grad, grads["erev"] * values["erev"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(synapses.slope.grad, grads["sigma"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(synapses.threshold.grad, grads["mu"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mapping", [None, "affine", "linear"])
@pytest.mark.parametrize("implicit", [False, True])
def test_options_of_ncps(mapping, implicit):
    theirs, ours = twins("auto_ncp", input_mapping=mapping, output_mapping=mapping, implicit_param_constraints=implicit)
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-6, atol=1e-6)


def test_there_and_back():
    theirs, ours = twins("auto_ncp")
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(ours.to_ncps()(x)[0], theirs(x)[0], rtol=1e-6, atol=1e-6)
    again = nn.LTC.from_ncps(ours.to_ncps())
    assert again.wiring == ours.wiring


@pytest.mark.unchecked
def test_what_has_no_counterpart_is_refused():
    with pytest.raises(ValueError, match="mixed memory"):
        nn.LTC.from_ncps(ncps.torch.LTC(3, 5, mixed_memory=True))
    with pytest.raises(ValueError, match="this layer has rk4"):
        nn.LTC(3, 5, solver="rk4").to_ncps()


def test_irregular_time_in_a_batch_is_that_of_each_sample():
    layer = nn.LTC(3, 4).double()
    x, spans = torch.randn(4, 6, 3, dtype=torch.float64), torch.rand(4, 6, dtype=torch.float64)  # batch = neurons too
    together, _ = layer(x, timespans=spans)
    alone = torch.cat([layer(x[i : i + 1], timespans=spans[i : i + 1])[0] for i in range(4)])
    torch.testing.assert_close(together, alone)


ORDERS = {"semi_implicit": 1, "explicit_euler": 1, "rk4": 4}


@pytest.mark.parametrize("solver", sorted(ORDERS))
def test_order_of_convergence(solver):
    layer = nn.LTC(2, 4, solver=solver).double()
    x = torch.randn(1, 1, 2, dtype=torch.float64)
    start = torch.randn(1, 4, dtype=torch.float64)
    with torch.no_grad():
        outside = layer._compute_outside(x[:, 0])

        def rate(_, v):
            return layer._compute_change(*outside, torch.tensor(v)[None])[0].numpy()

        exact = solve_ivp(rate, (0, 1), start[0].numpy(), rtol=1e-12, atol=1e-13).y[:, -1]
        errors = []
        for sub_steps in (16, 32, 64):
            layer.sub_steps = sub_steps
            errors.append(np.abs(layer(x, start)[1][0].numpy() - exact).max())
    assert errors[0] < 0.1
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, ORDERS[solver], atol=0.3)


def test_the_rate_is_the_equation():
    layer = nn.LTC(2, 3, wiring=np.array([[0, 1, -1], [1, 0, 0], [0, -1, 1]])).double()
    v, x = torch.randn(1, 3, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    rate = layer._compute_change(*layer._compute_outside(x), v)[0]
    for i in range(3):
        total = layer.log_leak[i].exp() * (layer.leak_potential[i] - v[0, i])
        for synapses, source in ((layer.synapses, v[0]), (layer.sensory, x[0])):
            for s in torch.nonzero(synapses.receiver == i)[:, 0]:
                gate = torch.sigmoid(synapses.slope[s] * (source[synapses.sender[s]] - synapses.threshold[s]))
                potential = synapses.sign[s] * synapses.log_potential[s].exp()
                total = total + synapses.log_weight[s].exp() * gate * (potential - v[0, i])
        torch.testing.assert_close(rate[i], total / layer.log_capacitance[i].exp())


def test_only_synapses_that_exist_have_parameters():
    sparse = nn.LTC(2, 20, wiring=wiring.random(20, 0.1, seed=0))
    assert len(sparse.synapses.log_weight) == len(wiring.random(20, 0.1, seed=0).edges)
    assert len(nn.LTC(2, 20).synapses.log_weight) == 400


@pytest.mark.unchecked
def test_wrong_wirings_and_solvers():
    with pytest.raises(ValueError, match="hidden_size is 5, but the wiring has 4 neurons"):
        nn.LTC(3, 5, wiring=wiring.empty(4))
    with pytest.raises(ValueError, match="input_size is 2, but the wiring has 3 inputs"):
        nn.LTC(2, 12, wiring=wiring.auto_ncp(3, 12, outputs=2))
    with pytest.raises(ValueError, match="one of semi_implicit, explicit_euler, rk4, got 'euler'"):
        nn.LTC(3, 5, solver="euler")  # pyright: ignore[reportArgumentType]
