"""Chooses the loop that advances the states of an EUNN."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from remanence._kernels import launch
from remanence.ops.dispatch import choose, record
from remanence.ops.eager import run_eagerly
from remanence.ops.episodes import Episodes, select_last
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
    episodes: Episodes | None = None,
) -> tuple[Float[Tensor, "batch time parts"], Float[Tensor, "batch parts"]]:
    """Compute the states after each time step and after the last one, real parts first, then imaginary parts.

    Args:
        mesh: the pairs of coordinates that are rotated.
        x: input [batch, time, inputs].
        state: state before the first step, [batch, parts].
        weight_ih: input weights V, [parts, inputs].
        theta: angles of the rotations, in radians.
        phi: phases applied to the second coordinates before the rotations, in radians.
        omega: phases after all rotations, [hidden], in radians.
        bias: bias of modReLU, [hidden].
        backend: ``"reference"``, the plain loop; ``"cpu"``, kernels compiled by LLVM; or ``"auto"`` (default), the
            fastest that applies.
        episodes: where samples are reset, to states [batch, parts], and end; default: nowhere.
    """
    tensors = (x, state, weight_ih, theta, phi, omega, bias)
    if episodes is not None:
        tensors = (*tensors, episodes.reset.to(x.dtype), *episodes.reset_state)
    kernel = RotationKernel(mesh)
    if choose(backend, tensors, x, {"cpu": lambda: launch.refuses(x)}) == "reference":
        y, last = kernel.reference(*tensors)
    else:
        y, last = record(kernel, tensors)
    return y, select_last(y, last, state, episodes and episodes.lengths)


@dataclass(frozen=True)
class RotationKernel:
    """The evolution of an EUNN, with tensors (x, state, V, θ, φ, ω, b), and (reset, first) if samples are reset.

    An :class:`remanence.ops.dispatch.OperationKernel`.

    Attributes:
        mesh: the pairs of coordinates that are rotated.
    """

    mesh: Mesh

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Compute the states after each time step and after the last one."""
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
        self,
        x: Tensor,
        state: Tensor,
        weight_ih: Tensor,
        theta: Tensor,
        phi: Tensor,
        omega: Tensor,
        bias: Tensor,
        *anew: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Run the plain loop."""
        episodes = Episodes(anew[0] != 0, anew[1:]) if anew else None
        turn = reference.make_rotation(self.mesh, theta, phi, omega)
        return reference.run(turn, x, state, weight_ih, bias, episodes)
