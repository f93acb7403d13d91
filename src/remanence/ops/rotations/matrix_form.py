"""Complex networks with W as a matrix of real numbers: the fewest operations per step if there are few units."""

from typing import no_type_check

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from remanence.ops import autocast
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import run_step
from remanence.ops.rotations.reference import SMALLEST
from remanence.ops.scan.layout import Tensors


def run(
    W: Complex[Tensor, "hidden hidden"],
    x: Float[Tensor, "batch time inputs"],
    state: Float[Tensor, "batch parts"],
    weight_ih: Float[Tensor, "parts inputs"],
    bias: Float[Tensor, " hidden"],
    episodes: Episodes | None = None,
) -> tuple[Float[Tensor, "batch time parts"], Float[Tensor, "batch parts"]]:
    """Compute what :func:`remanence.ops.rotations.reference.run` does if ``turn`` multiplies by W."""
    drive = torch.nn.functional.linear(x, weight_ih).to(bias.dtype)
    # (a + ib)(c + id) for rows [a | b].
    real, imaginary = W.real.T, W.imag.T
    matrix = torch.cat([torch.cat([real, imaginary], 1), torch.cat([-imaginary, real], 1)])
    with autocast.disable(x.device):  # rounded to 16 bits, W would not be unitary
        (y,), (last,) = run_step(_step, [drive], [state], [matrix, bias], episodes=episodes)
    return y, last


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def _step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    (h,), (drive,), (matrix, bias) = state, inputs, params
    z = (drive + h @ matrix).unflatten(1, (2, -1))
    modulus = z.square().sum(1, keepdim=True).clamp(min=SMALLEST**2).sqrt()
    return ((z * torch.relu(1 + bias / modulus)).flatten(1),)
