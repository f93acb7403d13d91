"""The evolution of an EUNN on CPUs: kernels compiled by LLVM, several samples in a vector."""

import functools

import torch
from torch import Tensor

from remanence._kernels.buffers import allocate
from remanence._kernels.launch import count_parts, launch, vector_width
from remanence.ops.rotations import cpu_source
from remanence.ops.rotations.mesh import Mesh

_forward, _backward = functools.cache(cpu_source.forward), functools.cache(cpu_source.backward)


def forward(
    mesh: Mesh,
    x: Tensor,
    state: Tensor,
    weight_ih: Tensor,
    theta: Tensor,
    phi: Tensor,
    omega: Tensor,
    bias: Tensor,
    reset: Tensor | None = None,
    first: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the states after each time step, [batch, time, parts], and V x and W h, both [time, parts, batch]."""
    (batch, time, _), parts = x.shape, len(weight_ih)
    drive, turned = (allocate(time, parts, batch, dtype=x.dtype) for _ in range(2))
    torch.bmm(weight_ih.expand(time, -1, -1), x.permute(1, 2, 0), out=drive)
    units, given = _prepare(mesh, theta, phi, omega, bias, drive, turned, copies=1)
    y = allocate(batch, time, parts, dtype=x.dtype)
    anew = () if reset is None or first is None else (reset.T.contiguous(), first.T.contiguous())
    source = _forward(vector_width(x.dtype), reset is not None)
    launch(source, x.dtype, units, *given, state.T.contiguous(), y, *anew)
    return y, drive, turned


def backward(
    mesh: Mesh,
    above: tuple[Tensor | None, Tensor | None],
    drive: Tensor,
    turned: Tensor,
    x: Tensor,
    state: Tensor,
    weight_ih: Tensor,
    theta: Tensor,
    phi: Tensor,
    omega: Tensor,
    bias: Tensor,
    reset: Tensor | None = None,
    first: Tensor | None = None,
    *,
    wants_x: bool,
) -> tuple[Tensor | None, ...]:
    """Compute the gradients of x and the arguments after it, from those of the states over time and of the last."""
    units, given = _prepare(mesh, theta, phi, omega, bias, drive, turned, copies=2)
    of_values, of_final = above
    of_values = _make_contiguous(
        x.new_zeros(()).expand(*x.shape[:2], drive.shape[1]) if of_values is None else of_values
    )
    of_final = torch.zeros_like(state) if of_final is None else of_final
    grads, of_state = allocate(*drive.shape, dtype=drive.dtype), allocate(*reversed(state.shape), dtype=drive.dtype)
    sums = torch.zeros(count_parts(units), len(theta) + len(bias), 2, vector_width(drive.dtype), dtype=drive.dtype)
    own = [of_values, of_final.T.contiguous(), grads, of_state, sums]
    of_first = None if first is None else torch.zeros_like(of_state)
    if reset is not None and of_first is not None:
        own += [reset.T.contiguous(), of_first]
    launch(_backward(vector_width(drive.dtype), reset is not None), drive.dtype, units, *given, *own)
    of_rotations, of_coordinates = sums.sum((0, 3)).split([len(theta), len(bias)])
    (of_theta, of_phi), (of_bias, of_omega) = of_rotations.unbind(1), of_coordinates.unbind(1)
    of_x = (weight_ih.T @ grads).permute(2, 0, 1) if wants_x else None
    of_weight = torch.addbmm(torch.zeros_like(weight_ih), grads, x.transpose(0, 1))
    of_anew = () if of_first is None else (None, of_first.T)
    return of_x, of_state.T, of_weight, of_theta, of_phi, of_omega, of_bias, *of_anew


def _make_contiguous(x: Tensor) -> Tensor:
    return x if x.is_contiguous() else allocate(*x.shape, dtype=x.dtype).copy_(x)


def _prepare(
    mesh: Mesh, theta: Tensor, phi: Tensor, omega: Tensor, bias: Tensor, drive: Tensor, turned: Tensor, *, copies: int
) -> tuple[int, tuple[Tensor | int, ...]]:
    """Return the number of units of work, and the arguments that both kernels share."""
    time, parts, batch = drive.shape
    lanes = vector_width(drive.dtype)
    units = -(-batch // lanes)
    pairs = mesh.places % len(bias)
    rotation = torch.stack([theta.cos(), theta.sin(), phi.cos(), phi.sin()], 1)
    diagonal = torch.stack([omega.cos(), omega.sin()], 1)
    work = allocate(count_parts(units), copies * parts + lanes, lanes, dtype=drive.dtype)
    sizes = (len(bias), len(theta), time, batch)
    return units, (*sizes, pairs, rotation, diagonal, bias.contiguous(), work, drive, turned)
