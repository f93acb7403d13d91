"""Which loop turns the states of an EUNN, and the kernel as one node of the autograd graph."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch._compile import _disable_dynamo

from remanence.nn.unitary import reference
from remanence.nn.unitary.mesh import Mesh


def evolve(
    mesh: Mesh,
    drive: Float[Tensor, "time parts batch"],
    state: Float[Tensor, "parts batch"],
    theta: Float[Tensor, " rotations"],
    phi: Float[Tensor, " rotations"],
    omega: Float[Tensor, " hidden"],
    bias: Float[Tensor, " hidden"],
    backend: str = "auto",
) -> tuple[Float[Tensor, "time parts batch"], Float[Tensor, "parts batch"]]:
    """States after each time step, and after the last; parts are the real parts, then the imaginary.

    Args:
        mesh: which coordinates are turned together.
        drive: what the inputs add.
        state: before the first step.
        theta: angles of the rotations.
        phi: phases of the second coordinates before them.
        omega: phases after all of them.
        bias: of modReLU.
        backend: ``"reference"``, the plain loop; ``"cpu"``; or ``"auto"``, the fastest that applies.
    """
    tensors = (drive, state, theta, phi, omega, bias)
    fits = drive.device.type == "cpu" and drive.dtype in (torch.float32, torch.float64) and drive.numel() > 0
    if torch.compiler.is_exporting() or backend == "reference" or not fits:
        return _looped(mesh, *tensors)
    if torch.compiler.is_compiling():
        return _disable_dynamo(_fused)(mesh, *tensors)
    return _fused(mesh, *tensors)


def _fused(mesh: Mesh, *tensors: Tensor) -> tuple[Tensor, Tensor]:
    return _Evolution.apply(mesh, *tensors)


def _looped(
    mesh: Mesh, drive: Tensor, state: Tensor, theta: Tensor, phi: Tensor, omega: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    turn = reference.rotations(mesh, theta, phi, omega)
    h = reference.evolve(turn, _complex(drive.mT), _complex(state.T), bias)
    values = torch.cat([h.real, h.imag], -1).mT
    return values, values[-1]


def _complex(parts: Tensor) -> Tensor:
    real, imaginary = parts.chunk(2, -1)
    return torch.complex(real, imaginary)


class _Evolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mesh: Mesh, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        from remanence.nn.unitary import cpu  # a compiler comes with it

        values, turned = cpu.forward(mesh, *tensors)
        ctx.mesh, ctx.backend = mesh, cpu
        ctx.save_for_backward(*tensors, turned)
        ctx.set_materialize_grads(False)
        return values, values[-1].clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, turned = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, *_by_autograd(ctx.mesh, tensors, above)
        of_values, of_final = above
        drive = tensors[0]
        total = torch.zeros_like(drive) if of_values is None else of_values
        if of_final is not None:
            total = total.clone(memory_format=torch.contiguous_format)
            total[-1] += of_final
        return None, *ctx.backend.backward(ctx.mesh, total, turned, *tensors)


def _by_autograd(mesh: Mesh, tensors: list[Tensor], above: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """Gradients that can be differentiated again: those of the plain loop."""
    pairs = [(out, g) for out, g in zip(_looped(mesh, *tensors), above, strict=True) if g is not None]
    outputs, given = zip(*pairs, strict=True)
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, given, create_graph=True, allow_unused=True))
    return [next(found) if tensor.requires_grad else None for tensor in tensors]
