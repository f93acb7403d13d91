"""Which loop turns the states of an EUNN, and the kernel as one node of the autograd graph."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence._kernels import addressing
from remanence.ops import again
from remanence.ops.rotations import reference
from remanence.ops.rotations.mesh import Mesh
from remanence.ops.uncompiled import uncompiled


@uncompiled
def evolve(
    mesh: Mesh,
    x: Float[Tensor, "batch time inputs"],
    state: Float[Tensor, "batch parts"],
    weight_ih: Float[Tensor, "parts inputs"],
    theta: Float[Tensor, " rotations"],
    phi: Float[Tensor, " rotations"],
    omega: Float[Tensor, " hidden"],
    bias: Float[Tensor, " hidden"],
    backend: str = "auto",
) -> tuple[Float[Tensor, "batch time parts"], Float[Tensor, "batch parts"]]:
    """States after each time step, and after the last; parts are the real parts, then the imaginary.

    Args:
        mesh: which coordinates are turned together.
        x: the input.
        state: before the first step.
        weight_ih: V.
        theta: angles of the rotations.
        phi: phases of the second coordinates before them.
        omega: phases after all of them.
        bias: of modReLU.
        backend: ``"reference"``, the plain loop; ``"cpu"``; or ``"auto"``, the fastest that applies.
    """
    tensors = (x, state, weight_ih, theta, phi, omega, bias)
    fits = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and x.numel() > 0
    why = addressing.refuses(tensors)
    if why is not None and backend == "cpu":
        raise ValueError(f"backend 'cpu' cannot run this: {why}")
    if why is not None or backend == "reference" or not fits:
        return _looped(mesh, *tensors)
    return _Evolution.apply(mesh, *tensors)


def _looped(
    mesh: Mesh, x: Tensor, state: Tensor, weight_ih: Tensor, theta: Tensor, phi: Tensor, omega: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    y = reference.run(reference.rotations(mesh, theta, phi, omega), x, state, weight_ih, bias)
    return y, y[:, -1]


class _Evolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mesh: Mesh, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        from remanence.ops.rotations import cpu  # a compiler comes with it

        y, *kept = cpu.forward(mesh, *tensors)
        ctx.mesh, ctx.backend = mesh, cpu
        ctx.save_for_backward(*tensors, *kept)
        ctx.set_materialize_grads(False)
        return y, y[:, -1]

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, drive, turned = ctx.saved_tensors
        grads = addressing.resolve(above)
        if again.is_needed(grads):
            return None, *again.gradients(partial(_looped, ctx.mesh), grads, tensors)
        wants_x = ctx.needs_input_grad[1]
        return None, *ctx.backend.backward(ctx.mesh, (grads[0], grads[1]), drive, turned, *tensors, wants_x=wants_x)
