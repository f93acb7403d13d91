"""Hankel singular values of a memory: what inputs can write and outputs can read."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import BLUE, get_axes
from remanence.analysis.controllable import Controllability, controllability
from remanence.analysis.gramian import draw_energy
from remanence.analysis.observable import Observability, observability
from remanence.errors import UserError

SHOWN = 8  # maximum number of modes in a plot


@dataclass(frozen=True, eq=False)
class HankelModes:
    """How the state in the middle of a trajectory carries past inputs to later outputs.

    Attributes:
        singular_values: singular values of the map from small changes of past inputs to changes of later outputs,
            [batch, size], descending. Their squares are the eigenvalues of the product of both Gramians.
        modes: unit vectors in the state space, [batch, mode, size], ordered by singular value: the directions in which
            the past inputs of each singular vector move the state. 0 where the singular value is 0.
        past: controllability of the state in the middle by past inputs.
        later: observability of the state in the middle by later outputs.
    """

    singular_values: Float[Tensor, "batch size"]
    modes: Float[Tensor, "batch size size"]
    past: Controllability
    later: Observability

    def plot(self, axes: Any = None) -> Any:
        """Plot the singular values and the first modes of the first row of the batch.

        Args:
            axes: two matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        values, modes = axes = get_axes(axes, 2)
        found = self.singular_values[0].cpu()
        values.semilogy(range(1, len(found) + 1), found.where(found > 0, torch.nan), ".-", color=BLUE)
        values.set(xlabel="mode", ylabel="singular value", title="Hankel singular values")
        draw_energy(modes, self.modes[0, :SHOWN].square(), "mode")
        modes.set(title="Modes that are written and read")
        return axes


def hankel_modes(
    system: Any,
    x: Float[Tensor, "batch time input"],
    at: int | None = None,
    h: Float[Tensor, "batch size"] | None = None,
) -> HankelModes:
    """Compute which directions of the state past inputs have written and later outputs will read.

    Args:
        system: a system that :func:`as_step` accepts, preferably in float64.
        x: the input of the trajectory, [batch, time, input].
        at: the number of steps that count as past; default: half of them.
        h: the flat state before the first step, [batch, size]; default: the initial state.

    Returns:
        Hankel singular values and modes, and both Gramians.

    Raises:
        ValueError: there is no step before or after ``at``.

    References:
        Moore 1981, IEEE Trans. Automatic Control 26 (balanced modes). Verriest and Kailath 1983, same 28 (where the
        system changes in time).

    Example:
        >>> found = hankel_modes(torch.nn.GRU(2, 3).double(), torch.randn(1, 20, 2).double())
        >>> found.singular_values.shape, found.modes.shape
        (torch.Size([1, 3]), torch.Size([1, 3, 3]))
    """
    step = as_step(system)
    at = x.shape[1] // 2 if at is None else at
    if not 0 < at < x.shape[1]:
        raise UserError(f"at must be 1 to {x.shape[1] - 1}, so that there are steps before and after it, got {at}")
    _, states = step.run(x[:, :at], h)
    past, later = controllability(step, x[:, :at], h), observability(step, x[:, at:], states[:, -1])
    written, read = (torch.linalg.qr(each.matrix, mode="r").R for each in (past, later))
    _, found, Vh = torch.linalg.svd(read @ written.mT, full_matrices=False)
    modes = Vh @ written
    size = step.size - found.shape[-1]
    found, modes = torch.nn.functional.pad(found, (0, size)), torch.nn.functional.pad(modes, (0, 0, 0, size))
    rounding = step.size * torch.finfo(x.dtype).eps * found[:, :1]
    modes = torch.where((found > rounding)[..., None], torch.nn.functional.normalize(modes, dim=-1), 0)
    return HankelModes(found, modes, past, later)
