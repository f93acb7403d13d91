"""The unitary RNN of Arjovsky, Shah and Bengio (2016)."""

import math

import torch
from torch import Tensor, nn

from remanence.nn.structure import Device, draw_permutation
from remanence.nn.unitary.base import Turn, UnitaryMemory


class UnitaryRNN(UnitaryMemory):
    """Unitary RNN: ``h_t = modReLU(W h_{t-1} + V x_t)`` with complex h and unitary W.

    ::

        W = D₃ R₂ F⁻¹ D₂ Π R₁ F D₁

    F is the unitary Fourier transform, Π a fixed random permutation, D = diag(e^{iω}), R = 1 - 2 v vᴴ / ||v||² a
    reflection, and ``modReLU(z) = ReLU(|z| + b) z / |z|``. W has 7 hidden_size parameters and takes O(hidden_size
    log(hidden_size)) operations, but covers only a small part of all unitary matrices; :class:`EUNN` can cover all. For
    at most 256 units, W is computed as a matrix once per sequence (``benchmarks/unitary.py``).

    Args:
        input_size: number of input channels.
        hidden_size: number of complex units.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih (V) [2 hidden_size, input_size], real parts above imaginary parts; bias (b) [hidden_size]; phases (ω)
        [3, hidden_size]; reflections (v) [2, 2, hidden_size], the real and the imaginary part of each; h_0
        [2, hidden_size], the initial state.

    Output:
        [real parts | imaginary parts] of h_t; output_size is 2 hidden_size. The paper reads it by a linear layer.

    State:
        (real part, imaginary part) of h, each [batch, hidden_size]; initially h_0, which is learned.

    Raises:
        ValueError: a size is not a positive integer.

    References:
        Arjovsky, Shah, Bengio, "Unitary evolution recurrent neural networks", 2016, arXiv:1511.06464, section 4.

    Example:
        >>> layer = UnitaryRNN(3, 8)
        >>> y, (real, imaginary) = layer(torch.randn(2, 5, 3))
        >>> y.shape, real.shape
        (torch.Size([2, 5, 16]), torch.Size([2, 8]))
    """

    permutation: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        self.phases = nn.Parameter(torch.empty(3, hidden_size))
        self.reflections = nn.Parameter(torch.empty(2, 2, hidden_size))
        self.fix("permutation", draw_permutation(hidden_size), saved=True, follows=True)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise all parameters as in section 4.3 of the paper; the permutation does not change."""
        super().reset_parameters()
        nn.init.uniform_(self.phases, -math.pi, math.pi)
        nn.init.uniform_(self.reflections, -1, 1)

    def _turn(self) -> Turn:
        d1, d2, d3 = torch.polar(torch.ones_like(self.phases), self.phases)
        R1, R2 = (_build_reflection(v) for v in self.reflections)

        def turn(h: Tensor) -> Tensor:
            h = R1(torch.fft.fft(d1 * h, norm="ortho"))
            h = torch.fft.ifft(d2 * h[:, self.permutation], norm="ortho")
            return d3 * R2(h)

        return turn


def _build_reflection(parts: Tensor) -> Turn:
    """Build R = 1 - 2 v vᴴ / ||v||² from the real and the imaginary part of v; the identity for v = 0."""
    # The direction does not depend on this scale, which keeps the squares of tiny or huge entries in range.
    parts = parts / parts.detach().abs().max().clamp(min=torch.finfo(parts.dtype).tiny)
    v, twice = torch.complex(*parts), 2 / parts.square().sum().clamp(min=0.5)
    return lambda h: h - twice * (h @ v.conj())[:, None] * v
