"""The efficient unitary network of Jing et al. (2017)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.memory import State
from remanence.nn.structure import Device
from remanence.nn.unitary.base import FEW, Turn, UnitaryMemory, join_reset_state, split_halves
from remanence.ops.episodes import Episodes
from remanence.ops.rotations import reference
from remanence.ops.rotations.mesh import Mesh, butterfly_mesh, tunable_mesh
from remanence.ops.rotations.operation import evolve


class EUNN(UnitaryMemory):
    """Efficient unitary network: ``h_t = modReLU(W h_{t-1} + V x_t)`` with complex h and W a product of rotations.

    ::

        W = D F_L ... F_2 F_1,    D = diag(e^{iω}),    modReLU(z) = ReLU(|z| + b) z / |z|

    Each layer F rotates pairs of coordinates (a, b), each pair by its own angles::

        h_a, h_b <- cosθ h_a - e^{iφ} sinθ h_b,  sinθ h_a + e^{iφ} cosθ h_b

    In the tunable style, F_1, F_3, ... rotate the pairs (0, 1), (2, 3), ..., and F_2, F_4, ... the pairs (1, 2),
    (3, 4), ...; with L = hidden_size layers, W can be any unitary matrix. In the FFT style, log₂ hidden_size layers
    rotate coordinates at distances of hidden_size / 2, / 4, ..., 1, so that each coordinate depends on all others.

    The phase e^{iφ} is applied before the rotation, as in the authors' program: applied after it, the phases of the
    last layer would duplicate those of D, and some unitary matrices could not be reached.

    On CPUs, the forward pass over a sequence is one kernel and the backward pass another, which inverts the rotations
    instead of storing their intermediate results: its memory does not grow with the capacity. On GPUs, up to 256 units,
    W is multiplied out once, and a scan multiplies with it.

    Args:
        input_size: number of input channels.
        hidden_size: number of complex units.
        capacity: number of layers L of the tunable style; default: 2.
        style: ``"tunable"`` (default) or ``"fft"``.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih (V) [2 hidden_size, input_size], real parts above imaginary parts; bias (b) and omega (ω)
        [hidden_size]; theta (θ) and phi (φ), one for each rotation, first layer first; h_0 [2, hidden_size], the
        initial state.

    Output:
        [real parts | imaginary parts] of h_t; output_size is 2 hidden_size.

    State:
        (real part, imaginary part) of h, each [batch, hidden_size]; initially h_0, which is learned.

    Raises:
        ValueError: a size is not a positive integer, the style is unknown, or a capacity is given for the FFT style.

    References:
        Jing, Shen, Dubcek, Peurifoy, Skirlo, LeCun, Tegmark, Soljačić, "Tunable efficient unitary neural networks
        (EUNN) and their application to RNNs", 2017, arXiv:1612.05231, section 4. V, b and h_0 are those of
        :class:`UnitaryRNN`.

    Example:
        >>> layer = EUNN(3, 8, style="fft")
        >>> y, (real, imaginary) = layer(torch.randn(2, 5, 3))
        >>> y.shape, real.shape
        (torch.Size([2, 5, 16]), torch.Size([2, 8]))
    """

    places: Tensor
    partner: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        capacity: int | None = None,
        style: Literal["tunable", "fft"] = "tunable",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        if style not in ("tunable", "fft"):
            raise UserError(f"style must be 'tunable' or 'fft', got {style!r}")
        if style == "fft" and capacity is not None:
            raise UserError(f"the FFT style always has log₂ hidden_size layers: omit capacity (got {capacity})")
        self.style = style
        layers = positive_integer("capacity", 2 if capacity is None else capacity)
        mesh = butterfly_mesh(hidden_size) if style == "fft" else tunable_mesh(hidden_size, layers)
        self.fix("places", mesh.places.numpy())
        self.fix("partner", mesh.partner.numpy())
        self.theta = nn.Parameter(torch.empty(len(mesh.places)))
        self.phi = nn.Parameter(torch.empty(len(mesh.places)))
        self.omega = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise all parameters; angles are uniform in ±π."""
        super().reset_parameters()
        for angles in (self.theta, self.phi, self.omega):
            nn.init.uniform_(angles, -math.pi, math.pi)

    def _mesh(self) -> Mesh:
        return Mesh(self.places, self.partner)

    def _turn(self) -> Turn:
        return reference.make_rotation(self._mesh(), self.theta, self.phi, self.omega)

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        if torch.compiler.is_exporting() or (x.device.type == "cuda" and self.hidden_size <= FEW):
            return super()._run(x, state, episodes=episodes)  # a scan with W as a matrix
        angles = self.theta, self.phi, self.omega
        x, before = x.to(self.bias.dtype), torch.cat(state, 1).to(self.bias.dtype)
        y, final = evolve(
            self._mesh(), x, before, self.weight_ih, *angles, self.bias, episodes=join_reset_state(episodes)
        )
        return y, split_halves(final)

    def extra_repr(self) -> str:
        """Return the sizes that ``print(layer)`` shows."""
        return f"{super().extra_repr()}, style={self.style}, layers={len(self.partner)}"
