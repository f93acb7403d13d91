"""Spectra of the Jacobian of the step along a trajectory."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import BLUE, GREY, ORANGE, get_axes


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and singular values of J_t = ∂h_{t+1}/∂h_t along a trajectory.

    Attributes:
        jacobians: J_t, [batch, time, size, size]; rows are components of h_{t+1}.
        eigenvalues: [batch, time, size], the largest modulus first.
        singular_values: [batch, time, size], descending: the factors by which J_t stretches a small difference.
    """

    jacobians: Float[Tensor, "batch time size size"]
    eigenvalues: Complex[Tensor, "batch time size"]
    singular_values: Float[Tensor, "batch time size"]

    @property
    def spectral_radius(self) -> Float[Tensor, "batch time"]:
        """The largest modulus of an eigenvalue, [batch, time]."""
        return self.eigenvalues[..., 0].abs()

    def plot(self, axes: Any = None) -> Any:
        """Plot the eigenvalues of all steps in the complex plane, and the singular values of the first row over time.

        Args:
            axes: two matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        plane, time = axes = get_axes(axes, 2)
        found = self.eigenvalues.flatten().cpu()
        turn = torch.linspace(0, 2 * torch.pi, 200)
        plane.plot(turn.cos(), turn.sin(), color=GREY, linewidth=1)
        plane.plot(found.real, found.imag, ".", color=BLUE, markersize=3, alpha=0.4)
        plane.set(xlabel="real part", ylabel="imaginary part", title="Eigenvalues of $J_t$ and the unit circle")
        plane.set_aspect("equal", "datalim")
        values = self.singular_values[0].cpu()
        tiny = torch.finfo(values.dtype).tiny
        time.semilogy(values.clamp_min(tiny), color=BLUE, linewidth=0.9, alpha=0.6)
        time.axhline(1, color=ORANGE, linewidth=1)
        if values.min() < 1e-8:
            time.set_ylim(bottom=1e-8)
        time.set(xlabel="time step", title="Singular values of $J_t$")
        return axes


def spectrum(
    system: Any, x: Float[Tensor, "batch time input"], h: Float[Tensor, "batch size"] | None = None
) -> Spectrum:
    """Compute the Jacobian of the step along a trajectory, with its eigenvalues and singular values.

    Args:
        system: a system that :func:`as_step` accepts.
        x: the input of the trajectory, [batch, time, input].
        h: the flat state before the first step, [batch, size]; default: the initial state.

    Returns:
        Jacobians, eigenvalues and singular values at every step.

    Raises:
        ValueError: an argument has a wrong shape.

    Example:
        >>> found = spectrum(torch.nn.GRU(3, 8), torch.randn(2, 5, 3))
        >>> found.eigenvalues.shape, found.spectral_radius.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 5]))
    """
    step = as_step(system)
    _, states = step.run(x, h)
    jacobians = step.jacobian(x.flatten(0, 1), states[:, :-1].flatten(0, 1))
    eigenvalues = torch.linalg.eigvals(jacobians)
    order = eigenvalues.abs().argsort(-1, descending=True)
    shape = x.shape[:2]
    return Spectrum(
        jacobians.unflatten(0, shape),
        eigenvalues.gather(-1, order).unflatten(0, shape),
        torch.linalg.svdvals(jacobians).unflatten(0, shape),
    )
