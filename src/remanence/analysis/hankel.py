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

SHOWN = 8  # modes in a picture


@dataclass(frozen=True, eq=False)
class HankelModes:
    """How the state in the middle of a trajectory carries past inputs to later outputs.

    Attributes:
        singular_values: of the map from small changes of past inputs to changes of later outputs, descending. Their
            squares are the eigenvalues of the product of both Gramians.
        modes: directions of the state, [mode, number], of length 1, by their singular values: the state into which the
            past inputs of each singular direction lead. 0 where the singular value is.
        past: what inputs wrote.
        later: what outputs read.
    """

    singular_values: Float[Tensor, "batch size"]
    modes: Float[Tensor, "batch size size"]
    past: Controllability
    later: Observability

    def plot(self, axes: Any = None) -> Any:
        """Singular values, and the first modes, of the first row.

        Args:
            axes: two matplotlib axes to draw on; default: those of a new figure.
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
    """Find the directions of the state that inputs have written by a time and outputs will read after it.

    Args:
        system: what :func:`as_step` takes, best in float64.
        x: the input that drives the trajectory.
        at: steps before the middle; default: half of them.
        h: the flat state to start in; default: the initial one.

    Returns:
        Hankel singular values and modes, and both Gramians.

    Raises:
        ValueError: no step before ``at`` or none after it.

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
        raise UserError(f"at must be 1 to {x.shape[1] - 1}, with steps before and after it, got {at}")
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
