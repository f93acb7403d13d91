"""Gramians: how much energy passes from channels to states, or from states to channels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from remanence.analysis.canvas import BLUE, GREY, ORANGE, get_axes
from remanence.extras import require_extra

FLOOR = 1e-12  # the smallest energy that a plot shows, relative to the largest


@dataclass(frozen=True, eq=False)
class Gramian:
    """The response M of states to channels, or of channels to states, over time, and its Gramian ``W = Mᵀ M``.

    Attributes:
        response: M, [batch, time, channels, size]; a subclass defines which derivative it is.
    """

    response: Float[Tensor, "batch time channels size"]

    channel: ClassVar[str]
    title: ClassVar[str]

    @property
    def matrix(self) -> Float[Tensor, "batch rows size"]:
        """M as a matrix, with time and channels as rows."""
        return self.response.flatten(1, 2)

    @cached_property
    def gramian(self) -> Float[Tensor, "batch size size"]:
        """The Gramian ``W = Mᵀ M``, a sum over time and channels."""
        return self.matrix.mT @ self.matrix

    @cached_property
    def spectrum(self) -> Float[Tensor, "batch size"]:
        """Eigenvalues of W, descending, computed as squared singular values of M, so that small ones are accurate."""
        values = torch.linalg.svdvals(self.matrix)
        return torch.nn.functional.pad(values, (0, self.matrix.shape[-1] - values.shape[-1])).square()

    @property
    def tolerance(self) -> Float[Tensor, " batch"]:
        """The threshold above which an eigenvalue counts: the square of NumPy's tolerance for the rank of M."""
        shape = self.matrix.shape[-2:]
        return (max(shape) * torch.finfo(self.response.dtype).eps) ** 2 * self.spectrum[:, 0]

    @property
    def rank(self) -> Int[Tensor, " batch"]:
        """The rank of W: the number of eigenvalues above ``tolerance``."""
        return (self.spectrum > self.tolerance[:, None]).sum(-1)

    @cached_property
    def energy(self) -> Float[Tensor, "batch channels size"]:
        """``Σ_t M²`` for each channel and each component of the state; summed over channels, the diagonal of W."""
        return self.response.square().sum(1)

    def plot(self, axes: Any = None) -> Any:
        """Plot the energy by channel and state component, the eigenvalues of W, and the energy over time.

        Energies are means over the batch; the eigenvalues are those of its first row.

        Args:
            axes: three matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        pairs, values, time = axes = get_axes(axes, 3)
        draw_energy(pairs, self.energy.mean(0), f"{self.channel} channel")
        pairs.set(title=self.title)
        found, tolerance = self.spectrum[0].cpu(), float(self.tolerance[0])
        values.semilogy(range(1, len(found) + 1), found.where(found > 0, torch.nan), ".-", color=BLUE)
        if tolerance > 0:
            values.axhline(tolerance, color=GREY, linestyle=":", label="rounding")
            values.legend(edgecolor="none")
        values.set(xlabel="direction", ylabel="eigenvalue", title=f"Spectrum of the Gramian, rank {int(self.rank[0])}")
        each = self.response.square().sum(-1).mean(0).cpu()
        for shown, name, colour in ((each.amax(-1), "largest", ORANGE), (each.mean(-1), "mean", BLUE)):
            time.semilogy(shown.where(shown > 0, torch.nan), color=colour, label=name)
        time.set(xlabel="time step", ylabel="energy", title=f"Energy by the time of the {self.channel}")
        time.legend(edgecolor="none", title=f"of {self.channel} channels")
        return axes


def draw_energy(axes: Any, energy: Tensor, rows: str) -> None:
    """Draw a heat map of rows and state components, on a logarithmic scale."""
    with require_extra("analysis", "a picture"):
        from matplotlib.ticker import MaxNLocator

    largest = energy.max().clamp_min(torch.finfo(energy.dtype).tiny)
    shown = energy.clamp_min(float(FLOOR * largest)).log10().cpu().numpy()
    image = axes.imshow(shown, aspect="auto", cmap="viridis", interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, label="$\\log_{10}$ energy")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="component of the state", ylabel=rows)
