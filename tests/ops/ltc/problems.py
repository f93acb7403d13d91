"""Synapses and values to try kernels on."""

import torch

from remanence.ops import ltc as synaptic
from remanence.ops.ltc import Edges, SynapseParameters

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}


def synapses(receivers, senders, density, dtype, device="cpu"):
    """Some of all possible synapses, with parameters that require gradients."""
    matrix = torch.rand(receivers, senders) < density
    receiver, sender = matrix.nonzero().to(device).unbind(1)
    edges = Edges(receiver.contiguous(), sender.contiguous(), receivers, senders)
    count = len(edges)
    values = (torch.rand(count), 3 + 5 * torch.rand(count), torch.rand(count), torch.randn(count))
    return edges, SynapseParameters(*(value.to(device, dtype).requires_grad_() for value in values))


def leaf(*shape, dtype, shift=0.0, device="cpu"):
    """Uniform numbers from ``shift`` to ``shift`` + 1 that require gradients."""
    return (torch.rand(shape, dtype=dtype) + shift).to(device).requires_grad_()


def gradients(results, leaves):
    """Of a weighted sum of the results, the same weights in every call."""
    generator = torch.Generator().manual_seed(0)
    losses = [(torch.randn(y.shape, generator=generator, dtype=y.dtype).to(y.device) * y).sum() for y in results]
    return torch.autograd.grad(torch.stack(losses).sum(), leaves, allow_unused=True)


def assert_spreads_along_synapses(backend, device="cpu"):
    """What is infinite or NaN reaches the neurons that have a synapse from it, as in the formulas, and no other."""
    edges, parameters = synapses(9, 9, 0.3, torch.float64, device)
    x = torch.rand(3, 9, dtype=torch.float64, device=device)
    x[1, 4], x[2, 2] = torch.nan, torch.inf
    conductance, current = (torch.rand(3, 2, 9, dtype=torch.float64, device=device) for _ in range(2))
    results = []
    with torch.no_grad():
        for name in ("reference", backend):
            sums = synaptic.sum_synapses(x, edges, parameters, backend=name)
            capacitance = torch.ones_like(x[0])
            states = synaptic.evolve(x, conductance, current, capacitance, edges, parameters, sub_steps=1, backend=name)
            results.append((*sums, *states))
    assert all(0 < result.isfinite().float().mean() < 1 for result in (results[0][0], results[0][2]))
    torch.testing.assert_close(*results, equal_nan=True, rtol=1e-9, atol=1e-9)
