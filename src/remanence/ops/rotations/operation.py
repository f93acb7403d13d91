"""Chooses the loop that advances the states of an EUNN."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from remanence._kernels import launch
from remanence.ops.dispatch import choose, record
from remanence.ops.eager import run_eagerly
from remanence.ops.rotations import reference
from remanence.ops.rotations.mesh import Mesh


@run_eagerly
def evolve(
    mesh: Mesh,
    x: Float[Tensor, "batch time inputs"],
    state: Float[Tensor, "batch parts"],
    weight_ih: Float[Tensor, "parts inputs"],
    theta: Float[Tensor, " rotations"],
    phi: Float[Tensor, " rotations"],
    omega: Float[Tensor, " hidden"],
    bias: Float[Tensor, " hidden"],
    backend: Literal["auto", "reference", "cpu"] = "auto",
) -> tuple[Float[Tensor, "batch time parts"], Float[Tensor, "batch parts"]]:
    """Compute the states after each time step, and after the last; parts are the real parts, then the imaginary.

    Args:
        mesh: the pairs of coordinates that are rotated.
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
    kernel = RotationKernel(mesh)
    if choose(backend, tensors, x, {"cpu": lambda: launch.refuses(x)}) == "reference":
        return kernel.reference(*tensors)
    y, last = record(kernel, tensors)
    return y, last


@dataclass(frozen=True)
class RotationKernel:
    """The evolution of an EUNN, with tensors (x, state, V, θ, φ, ω, b).

    An :class:`remanence.ops.dispatch.OperationKernel`.

    Attributes:
        mesh: the pairs of coordinates that are rotated.
    """

    mesh: Mesh

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Compute the states over time, and the last."""
        from remanence.ops.rotations import cpu  # it loads a compiler

        y, *residuals = cpu.forward(self.mesh, *tensors)
        return (y, y[:, -1].clone()), tuple(residuals)

    def backward(
        self,
        tensors: Sequence[Tensor],
        residuals: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Compute the gradients of all arguments."""
        from remanence.ops.rotations import cpu

        of_y, of_last = grads
        return cpu.backward(self.mesh, (of_y, of_last), *residuals, *tensors, wants_x=needs[0])

    def reference(
        self, x: Tensor, state: Tensor, weight_ih: Tensor, theta: Tensor, phi: Tensor, omega: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The plain loop."""
        return reference.run(reference.make_rotation(self.mesh, theta, phi, omega), x, state, weight_ih, bias)
