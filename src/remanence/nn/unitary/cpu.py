"""The evolution of an EUNN on CPUs: kernels compiled by Numba, several samples in a vector."""

import torch
from torch import Tensor

from remanence.nn.unitary import cpu_source
from remanence.nn.unitary.mesh import Mesh
from remanence.scan.memory import allocate
from remanence.synaptic.enter import enter, lane_count, part_count

_FORWARD, _BACKWARD = cpu_source.forward(), cpu_source.backward()


def forward(
    mesh: Mesh, x: Tensor, state: Tensor, weight_ih: Tensor, theta: Tensor, phi: Tensor, omega: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """States after each time step, [batch, time, parts]; what the inputs add, and W h, both [time, parts, batch]."""
    (batch, time, _), parts = x.shape, len(weight_ih)
    drive, turned, values = (allocate(time, parts, batch, dtype=x.dtype) for _ in range(3))
    torch.bmm(weight_ih.expand(time, -1, -1), x.permute(1, 2, 0), out=drive)
    units, given = _given(mesh, theta, phi, omega, bias, drive, turned, copies=1)
    enter(_FORWARD, x.dtype, units, *given, state.T.contiguous(), values)
    y = allocate(batch, time, parts, dtype=x.dtype)
    y.view(batch, -1).copy_(values.view(-1, batch).T)
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
    *,
    wants_x: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients of x and what follows it, from those of the states after each time step, and after the last."""
    units, given = _given(mesh, theta, phi, omega, bias, drive, turned, copies=2)
    grads, of_values = (allocate(*drive.shape, dtype=drive.dtype) for _ in range(2))
    _fill(of_values, *above)
    of_state = allocate(*reversed(state.shape), dtype=drive.dtype)
    sums = torch.zeros(part_count(units), len(theta) + len(bias), 2, lane_count(drive.dtype), dtype=drive.dtype)
    enter(_BACKWARD, drive.dtype, units, *given, of_values, grads, of_state, sums)
    of_rotations, of_coordinates = sums.sum((0, 3)).split([len(theta), len(bias)])
    (of_theta, of_phi), (of_bias, of_omega) = of_rotations.unbind(1), of_coordinates.unbind(1)
    of_x = (weight_ih.T @ grads).permute(2, 0, 1) if wants_x else None
    of_weight = torch.addbmm(torch.zeros_like(weight_ih), grads, x.transpose(0, 1))
    return of_x, of_state.T, of_weight, of_theta, of_phi, of_omega, of_bias


def _fill(of_values: Tensor, above: Tensor | None, of_final: Tensor | None) -> None:
    """Gradients of the states, [time, parts, batch], from those by sample."""
    if above is None:
        of_values.zero_()
    else:
        # As matrices, for which PyTorch has a fast way to transpose.
        of_values.view(-1, len(above)).copy_(above.flatten(1).T)
    if of_final is not None:
        of_values[-1] += of_final.T


def _given(
    mesh: Mesh, theta: Tensor, phi: Tensor, omega: Tensor, bias: Tensor, drive: Tensor, turned: Tensor, *, copies: int
) -> tuple[int, tuple[Tensor | int, ...]]:
    """Units of work, and what both kernels are given."""
    time, parts, batch = drive.shape
    units = -(-batch // lane_count(drive.dtype))
    pairs = mesh.places % len(bias)
    rotation = torch.stack([theta.cos(), theta.sin(), phi.cos(), phi.sin()], 1)
    diagonal = torch.stack([omega.cos(), omega.sin()], 1)
    work = allocate(part_count(units), copies * parts, lane_count(drive.dtype), dtype=drive.dtype)
    sizes = (len(bias), len(theta), time, batch)
    return units, (*sizes, pairs, rotation, diagonal, bias.contiguous(), work, drive, turned)
