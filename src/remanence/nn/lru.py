"""The linear recurrent unit (Orvieto et al. 2023)."""

import math
from typing import no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanence.errors import UserError
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.operation import scan


class LRU(Memory):
    """Linear recurrent unit: complex units that turn and decay, each by an eigenvalue of its own.

    ::

        h_t = λ h_{t-1} + exp(γ) B x_t        λ = exp(-exp(ν) + i exp(θ))
        y_t = Re(C h_t) + D x_t

    abs(λ) < 1 whatever is learned. At first the λ are spread evenly over a ring, and exp(γ) = √(1 - abs(λ)²) gives h
    the size of its input. On CPUs it is one fused loop, on GPUs an associative scan where that is faster
    (:mod:`remanence.ops.scan.associative`). It computes in float32 at least: in 16 bits a slow λ would be 1.

    Args:
        input_size: number of input channels.
        hidden_size: complex units.
        output_size: channels of the output; default: ``hidden_size``.
        r_min: inner radius of the ring.
        r_max: outer radius.
        max_phase: the largest phase, in radians.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        nu (ν), theta (θ) and gamma (γ), each [hidden_size]; weight_ih [2, hidden_size, input_size] and weight_ho [2,
        output_size, hidden_size], real and imaginary parts of B and C; skip [output_size, input_size] (D).

    State:
        (real part, imaginary part) of h, each [batch, hidden_size].

    Raises:
        ValueError: a size that is not positive, radii that are not 0 ≤ r_min < r_max ≤ 1, or a phase that is not
            positive.

    References:
        Orvieto et al., "Resurrecting recurrent neural networks for long sequences", 2023, arXiv:2303.06349, section 3
        and appendix A.

    Example:
        >>> layer = LRU(3, 8, output_size=4, r_min=0.9, r_max=0.999)
        >>> y, (real, imaginary) = layer(torch.randn(2, 5, 3))
        >>> y.shape, real.shape, bool((layer.eigenvalues().abs() >= 0.89).all())
        (torch.Size([2, 5, 4]), torch.Size([2, 8]), True)
    """

    in_low_precision = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        *,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size, output_size)
        if not 0 <= r_min < r_max <= 1:
            raise UserError(f"r_min and r_max must be 0 <= r_min < r_max <= 1, got {r_min} and {r_max}")
        if not max_phase > 0:
            raise UserError(f"max_phase must be positive, got {max_phase}")
        self.r_min, self.r_max, self.max_phase = r_min, r_max, max_phase
        self.nu, self.theta, self.gamma = (nn.Parameter(torch.empty(hidden_size)) for _ in range(3))
        self.weight_ih = nn.Parameter(torch.empty(2, hidden_size, input_size))  # B
        self.weight_ho = nn.Parameter(torch.empty(2, self.output_size, hidden_size))  # C
        self.skip = nn.Parameter(torch.empty(self.output_size, input_size))  # D
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw eigenvalues from the ring, and matrices from normal distributions that keep the size of their input."""
        least = torch.finfo(self.nu.dtype).tiny
        with torch.no_grad():
            square = self.nu.uniform_(self.r_min**2, self.r_max**2).clamp_(least, 1 - 1e-6)  # of abs(λ)
            self.gamma.copy_((1 - square).sqrt().log())
            self.nu.copy_((-0.5 * square.log()).log())
            self.theta.uniform_(0, self.max_phase).clamp_(least).log_()
        nn.init.normal_(self.weight_ih, std=(2 * self.input_size) ** -0.5)
        nn.init.normal_(self.weight_ho, std=self.hidden_size**-0.5)
        nn.init.normal_(self.skip, std=self.input_size**-0.5)

    def eigenvalues(self) -> Tensor:
        """Return λ, complex, [hidden_size]."""
        return torch.complex(*self._compute_eigenvalues())

    def initial_state(self, batch_size: int) -> State:
        """Return (real part, imaginary part) of h, both zero."""
        real = self._zeros(batch_size, self.hidden_size)
        return real, torch.zeros_like(real)

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        drives = self._compute_drives(x)
        states, final = scan(turn_step, drives, state, self._compute_eigenvalues(), **as_options(episodes))
        return self._read_out(states, x), final

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        state = turn_step(state, self._compute_drives(x_t).unbind(-2), self._compute_eigenvalues())
        return self._read_out(state, x_t), state

    def _compute_eigenvalues(self) -> tuple[Tensor, Tensor]:
        modulus, phase = torch.exp(-torch.exp(self.nu)), torch.exp(self.theta)
        return modulus * torch.cos(phase), modulus * torch.sin(phase)

    def _compute_drives(self, x: Tensor) -> Tensor:
        """Compute exp(γ) B x, [..., 2, hidden_size]."""
        weight = self.gamma.exp()[:, None] * self.weight_ih
        return F.linear(x, weight.flatten(0, 1)).unflatten(-1, (2, -1))

    def _read_out(self, h: Tensors, x: Tensor) -> Tensor:
        real, imaginary = self.weight_ho.unbind(0)
        return F.linear(torch.cat([*h, x.to(h[0].dtype)], -1), torch.cat([real, -imaginary, self.skip], -1))


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def turn_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute h <- λ h + x, all complex, as pairs of real and imaginary parts."""
    (real, imaginary), (x_re, x_im), (of_re, of_im) = state, inputs, params
    return of_re * real - of_im * imaginary + x_re, of_re * imaginary + of_im * real + x_im
