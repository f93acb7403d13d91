"""Complex networks as plain loops, the reference for the kernels."""

from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from remanence.ops.episodes import Episodes, begin_anew, select_last
from remanence.ops.rotations.mesh import Mesh

SMALLEST = 1e-5
"""The modulus below which the factor of modReLU is constant; with a positive bias it would grow without bound."""


def modrelu(z: Complex[Tensor, "... hidden"], bias: Float[Tensor, " hidden"]) -> Complex[Tensor, "... hidden"]:
    """Compute ``ReLU(|z| + b) z / |z|``, which keeps the phase and rectifies the modulus."""
    modulus = (z.real.square() + z.imag.square()).clamp(min=SMALLEST**2).sqrt()
    return z * torch.relu(1 + bias / modulus)


def run(
    turn: Callable[[Tensor], Tensor],
    x: Float[Tensor, "batch time inputs"],
    state: Float[Tensor, "batch parts"],
    weight_ih: Float[Tensor, "parts inputs"],
    bias: Float[Tensor, " hidden"],
    episodes: Episodes | None = None,
) -> tuple[Float[Tensor, "batch time parts"], Float[Tensor, "batch parts"]]:
    """Compute ``h_t = modReLU(W h_{t-1} + V x_t)`` after each step and the last one, real parts first, then imaginary.

    Args:
        turn: function that maps h [batch, hidden], complex, to W h.
        x: input [batch, time, inputs].
        state: h before the first step, [batch, parts].
        weight_ih: input weights V, [parts, inputs].
        bias: bias of modReLU, [hidden].
        episodes: where samples are reset and end; default: nowhere.
    """
    drive = torch.nn.functional.linear(x, weight_ih).to(bias.dtype)  # there are no complex numbers of 16 bits
    h, states = _to_complex(state), []
    for t, drive_t in enumerate(_to_complex(drive).unbind(1)):
        if episodes:
            h = begin_anew(episodes.reset[:, t], _to_complex(*episodes.reset_state), h)
        h = modrelu(turn(h) + drive_t, bias)
        states.append(h)
    over_time = torch.stack(states, 1)
    y = torch.cat([over_time.real, over_time.imag], -1)
    return y, select_last(y, y[:, -1], state, episodes and episodes.lengths)


def _to_complex(parts: Tensor) -> Tensor:
    real, imaginary = parts.chunk(2, -1)
    return torch.complex(real, imaginary)


def make_rotation(
    mesh: Mesh,
    theta: Float[Tensor, " rotations"],
    phi: Float[Tensor, " rotations"],
    omega: Float[Tensor, " hidden"],
) -> Callable[[Tensor], Tensor]:
    """Return the function that maps h [batch, hidden] to ``D F_L ... F_1 h``.

    A layer is ``F h = own * h + other * h[partner]``.

    Args:
        mesh: the pairs of coordinates that are rotated.
        theta: angles of the rotations, in radians.
        phi: phases applied to the second coordinates, in radians.
        omega: phases of D, [hidden], in radians.
    """
    a, b = mesh.places.unbind(1)
    zeros, e = torch.zeros_like(theta), torch.polar(torch.ones_like(phi), phi)
    c, s = torch.complex(theta.cos(), zeros), torch.complex(theta.sin(), zeros)
    blank = torch.zeros(mesh.partner.numel(), dtype=e.dtype, device=e.device)
    own = torch.ones_like(blank).index_put((a,), c).index_put((b,), e * c).view(mesh.partner.shape)
    other = blank.index_put((a,), -e * s).index_put((b,), s).view(mesh.partner.shape)
    diagonal = torch.polar(torch.ones_like(omega), omega)

    def turn(h: Tensor) -> Tensor:
        for own_l, other_l, partner in zip(own, other, mesh.partner, strict=True):
            h = own_l * h + other_l * h[:, partner]
        return diagonal * h

    return turn
