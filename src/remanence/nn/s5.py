"""The S5 layer (Smith et al. 2023): a diagonal state-space model in continuous time."""

import math
from typing import no_type_check

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.operation import scan

TRUNCATED = 0.87962566103423978
"""The deviation of a standard normal distribution that is cut at ±2."""


class S5(Memory):
    """S5: a linear differential equation with a diagonal matrix, solved exactly for inputs that stay over a time step.

    ::

        dh/dt = Λ h + B x        y = 2 Re(C h) + D x
        h_t = exp(Λ Δ) h_{t-1} + (exp(Λ Δ) - 1) / Λ · B x_t        Δ = timespan · exp(log_step)

    which is the zero-order hold. h has one of each pair of conjugate components. Λ, B and C start from the
    diagonalisation of the normal part of the HiPPO-LegS matrix; the real part of Λ, -1/2 at first, is learned freely.
    On CPUs it is one fused loop, on GPUs an associative scan where that is faster
    (:mod:`remanence.ops.scan.associative`). It computes in float32 at least: in 16 bits a slow unit would not decay.

    Args:
        input_size: number of input channels.
        hidden_size: complex units, half the paper's state size P.
        output_size: channels of the output; default: ``hidden_size``.
        blocks: HiPPO matrices on the diagonal (J in the paper), a divisor of ``hidden_size``.
        shortest: the shortest step Δ at the start, for a timespan of 1.
        longest: the longest; the steps are spread between them, evenly in their logarithm.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        decay and frequency, real and imaginary part of Λ, and log_step, each [hidden_size]; weight_ih [2, hidden_size,
        input_size] and weight_ho [2, output_size, hidden_size], real and imaginary parts of B and C; skip [output_size,
        input_size] (D).

    State:
        (real part, imaginary part) of h, each [batch, hidden_size].

    Raises:
        ValueError: a size that is not positive, blocks that do not divide ``hidden_size``, or steps that are not
            0 < shortest ≤ longest.

    References:
        Smith, Warrington, Linderman, "Simplified state space layers for sequence modeling", 2023, arXiv:2208.04933,
        sections 3 and 4, appendix B.

    Example:
        >>> layer = S5(3, 8, blocks=2)
        >>> y, (real, imaginary) = layer(torch.randn(2, 5, 3), timespans=torch.rand(2, 5))
        >>> y.shape, real.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    continuous_time = True
    in_low_precision = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        *,
        blocks: int = 1,
        shortest: float = 0.001,
        longest: float = 0.1,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size, output_size)
        if hidden_size % positive_integer("blocks", blocks):
            raise UserError(f"hidden_size must be a multiple of blocks, got {hidden_size} and {blocks}")
        if not 0 < shortest <= longest:
            raise UserError(f"steps must be 0 < shortest <= longest, got {shortest} and {longest}")
        self.blocks, self.shortest, self.longest = blocks, shortest, longest
        self.decay, self.frequency, self.log_step = (nn.Parameter(torch.empty(hidden_size)) for _ in range(3))
        self.weight_ih = nn.Parameter(torch.empty(2, hidden_size, input_size))  # B
        self.weight_ho = nn.Parameter(torch.empty(2, self.output_size, hidden_size))  # C
        self.skip = nn.Parameter(torch.empty(self.output_size, input_size))  # D
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set Λ; draw B and C in the coordinates of the HiPPO matrix, and the other parameters."""
        units = 2 * self.hidden_size // self.blocks
        values, vectors = diagonalise_hippo(units)
        real, imaginary = (torch.from_numpy(part).to(self.decay) for part in (vectors.real, vectors.imag))
        of_input = self._draw(self.blocks, units, self.input_size)
        c_re, c_im = self._draw(2, self.output_size, self.blocks, units)
        with torch.no_grad():
            self.decay.copy_(torch.from_numpy(values.real).repeat(self.blocks))
            self.frequency.copy_(torch.from_numpy(values.imag).repeat(self.blocks))
            self.weight_ih.copy_(torch.stack([real.T @ of_input, -imaginary.T @ of_input]).flatten(1, 2))  # V* B
            parts = c_re @ real - c_im @ imaginary, c_re @ imaginary + c_im @ real
            self.weight_ho.copy_(torch.stack(parts).flatten(2))  # C V
        nn.init.uniform_(self.log_step, math.log(self.shortest), math.log(self.longest))
        nn.init.normal_(self.skip, std=self.input_size**-0.5)

    def _draw(self, *shape: int) -> Tensor:
        """Draw from a normal distribution cut at two deviations, of variance 1 / (2 hidden_size)."""
        std = (2 * self.hidden_size) ** -0.5 / TRUNCATED
        return nn.init.trunc_normal_(self.decay.new_empty(shape), std=std, a=-2 * std, b=2 * std)

    def eigenvalues(self) -> Tensor:
        """Return Λ, complex, [hidden_size]."""
        return torch.complex(self.decay, self.frequency)

    def initial_state(self, batch_size: int) -> State:
        """Return (real part, imaginary part) of h, both zero."""
        real = self._zeros(batch_size, self.hidden_size)
        return real, torch.zeros_like(real)

    def _run(
        self, x: Tensor, state: State, timespans: Tensor | None = None, *, episodes: Episodes | None = None
    ) -> tuple[Tensor, State]:
        inputs = self._list_inputs(x, timespans)
        states, final = scan(hold_step, inputs, state, self._params(), **as_options(episodes))
        return self._read_out(states, x), final

    def _advance(self, x_t: Tensor, state: State, timespans: Tensor | None = None) -> tuple[Tensor, State]:
        state = hold_step(state, self._list_inputs(x_t, timespans), self._params())
        return self._read_out(state, x_t), state

    def _params(self) -> Tensors:
        return self.decay, self.frequency, self.log_step

    def _list_inputs(self, x: Tensor, timespans: Tensor | None) -> Tensors:
        """Compute the two parts of B x, and list them with the timespans, each [..., hidden_size]."""
        parts = F.linear(x, self.weight_ih.flatten(0, 1)).chunk(2, -1)
        return parts if timespans is None else (*parts, timespans[..., None].to(parts[0].dtype).expand_as(parts[0]))

    def _read_out(self, h: Tensors, x: Tensor) -> Tensor:
        real, imaginary = 2 * self.weight_ho
        return F.linear(torch.cat([*h, x.to(h[0].dtype)], -1), torch.cat([real, -imaginary, self.skip], -1))


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def hold_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step of the zero-order hold, for a timespan of 1 if ``inputs`` has no third item."""
    (real, imaginary), (x_re, x_im, *spans), (decay, frequency, log_step) = state, inputs, params
    step = torch.exp(log_step) * spans[0] if spans else torch.exp(log_step)
    a, b = decay * step, frequency * step
    size, cos, sin = torch.exp(a), torch.cos(b), torch.sin(b)
    # exp(ΛΔ) - 1, without the rounding of a difference for short steps.
    grown_re, grown_im = torch.expm1(a) * cos - 2 * torch.sin(b / 2).square(), size * sin
    square = decay.square() + frequency.square()
    of_re = (grown_re * decay + grown_im * frequency) / square
    of_im = (grown_im * decay - grown_re * frequency) / square
    return (
        size * (cos * real - sin * imaginary) + of_re * x_re - of_im * x_im,
        size * (cos * imaginary + sin * real) + of_re * x_im + of_im * x_re,
    )


def diagonalise_hippo(size: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Diagonalise the normal part of the HiPPO-LegS matrix (HiPPO-N).

    Args:
        size: of the matrix; even.

    Returns:
        The eigenvalues with a positive imaginary part, [size / 2], and their eigenvectors, [size, size / 2], whose
        first components are positive.
    """
    n = np.arange(size)
    root = np.sqrt(2 * n + 1.0)
    hippo = -np.tril(np.outer(root, root)) + np.diag(n)
    rank_one = np.sqrt(n + 0.5)
    skew = hippo + np.outer(rank_one, rank_one) + 0.5 * np.eye(size)
    frequencies, vectors = np.linalg.eigh(-1j * skew)
    vectors = vectors[:, size // 2 :]
    return -0.5 + 1j * frequencies[size // 2 :], vectors * (np.abs(vectors[0]) / vectors[0])
