"""The evolution of an EUNN on CPUs: kernels compiled by Numba, several samples in a vector."""

import torch
from torch import Tensor

from remanence.nn.unitary import cpu_source
from remanence.nn.unitary.mesh import Mesh
from remanence.scan.memory import allocate
from remanence.synaptic.enter import enter, lane_count, part_count

_FORWARD, _BACKWARD = cpu_source.forward(), cpu_source.backward()


def forward(
    mesh: Mesh, drive: Tensor, state: Tensor, theta: Tensor, phi: Tensor, omega: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """States after each time step, and W h before the drive was added, both [time, parts, batch]."""
    values, turned = (allocate(*drive.shape, dtype=drive.dtype) for _ in range(2))
    units, values_given = _given(mesh, drive, theta, phi, omega, bias, turned, copies=1)
    enter(_FORWARD, drive.dtype, units, *values_given, state.contiguous(), values)
    return values, turned


def backward(
    mesh: Mesh,
    above: Tensor,
    turned: Tensor,
    drive: Tensor,
    state: Tensor,
    theta: Tensor,
    phi: Tensor,
    omega: Tensor,
    bias: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of drive, state, theta, phi, omega and bias, from those of the states after each time step."""
    units, given = _given(mesh, drive, theta, phi, omega, bias, turned, copies=2)
    grads = allocate(*drive.shape, dtype=drive.dtype)
    of_state = allocate(*state.shape, dtype=drive.dtype)
    sums = torch.zeros(part_count(units), len(theta) + len(bias), 2, lane_count(drive.dtype), dtype=drive.dtype)
    enter(_BACKWARD, drive.dtype, units, *given, above.contiguous(), grads, of_state, sums)
    of_rotations, of_coordinates = sums.sum((0, 3)).split([len(theta), len(bias)])
    (of_theta, of_phi), (of_bias, of_omega) = of_rotations.unbind(1), of_coordinates.unbind(1)
    return grads, of_state, of_theta, of_phi, of_omega, of_bias


def _given(
    mesh: Mesh, drive: Tensor, theta: Tensor, phi: Tensor, omega: Tensor, bias: Tensor, turned: Tensor, *, copies: int
) -> tuple[int, tuple[Tensor | int, ...]]:
    """Units of work, and what both kernels are given."""
    time, parts, batch = drive.shape
    units = -(-batch // lane_count(drive.dtype))
    pairs = mesh.places % len(bias)
    rotation = torch.stack([theta.cos(), theta.sin(), phi.cos(), phi.sin()], 1)
    diagonal = torch.stack([omega.cos(), omega.sin()], 1)
    work = allocate(part_count(units), copies * parts, lane_count(drive.dtype), dtype=drive.dtype)
    sizes = (len(bias), len(theta), time, batch)
    return units, (*sizes, pairs, rotation, diagonal, bias.contiguous(), work, drive.contiguous(), turned)
