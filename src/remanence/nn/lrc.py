"""The liquid-resistance liquid-capacitance state-space model, LrcSSM (Farsang et al. 2025)."""

from typing import no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanence.nn.memory import Memory
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.operation import scan

VECTORS = ("feedback", "threshold", "g_x", "g_u", "k_x", "k_u", "g_leak", "elastance", "e_leak")


class LRC(Memory):
    """LrcSSM: liquid neurons with saturating conductances and a capacitance that depends on state and input.

    A unit sees itself and the input, and no other unit within a step, so that the Jacobian is diagonal::

        s = σ(a_x h + b_x),  r = σ(A x + b)                            synapses from itself, and from the input
        f = g_x s + g_u r + g_leak                                     conductance that forgets
        z = k_x s + k_u r + g_leak                                     conductance that updates
        e = w h + V x + v                                              elastance, one over capacitance
        dh/dt = σ(e) (tanh(z) e_leak - σ(f) h)

    integrated by one step of Euler's explicit method, whose length is 1 or that of ``timespans``: h stays bounded for
    steps up to 2. Here it is one fused loop (:func:`remanence.scan`). The paper solves for all time steps at once, as
    ``remanence.scan(lrc_step, ..., backend="newton")`` does; on a CPU that is slower (``benchmarks/newton.py``).

    Args:
        input_size: number of input channels.
        hidden_size: units.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih [2 hidden_size, input_size] and bias [2 hidden_size] (A and b, then V and v), and vectors
        [hidden_size]: feedback (a_x), threshold (b_x), g_x, g_u, k_x, k_u, g_leak, elastance (w), e_leak. All start
        uniformly from ±1/√hidden_size, as in the authors' code.

    State:
        h [batch, hidden_size].

    Raises:
        ValueError: a size that is not positive.

    References:
        Farsang, Hasani, Rus, Grosu, "Parallelization of non-linear state-space models: scaling up liquid-resistance
        liquid-capacitance networks for efficient sequence modeling", 2025, arXiv:2505.21717, section 3.

    Example:
        >>> y, h = LRC(3, 8)(torch.randn(2, 5, 3), timespans=torch.rand(2, 5))
        >>> y.shape
        torch.Size([2, 5, 8])
    """

    continuous_time = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        for name in VECTORS:
            self.register_parameter(name, nn.Parameter(torch.empty(hidden_size)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)

    def _run(
        self, x: Tensor, state: Tensor, timespans: Tensor | None = None, *, episodes: Episodes | None = None
    ) -> tuple[Tensor, Tensor]:
        (y,), (h,) = scan(lrc_step, self._list_inputs(x, timespans), [state], self._params(), **as_options(episodes))
        return y, h

    def _advance(self, x_t: Tensor, state: Tensor, timespans: Tensor | None = None) -> tuple[Tensor, Tensor]:
        (h,) = lrc_step((state,), self._list_inputs(x_t, timespans), self._params())
        return h, h

    def _params(self) -> Tensors:
        return tuple(getattr(self, name) for name in VECTORS)

    def _list_inputs(self, x: Tensor, timespans: Tensor | None) -> Tensors:
        synapses, elastance = F.linear(x, self.weight_ih, self.bias).chunk(2, -1)
        spans = () if timespans is None else (timespans[..., None].to(synapses.dtype).expand_as(synapses),)
        return synapses, elastance, *spans


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def lrc_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step of Euler's method, of length 1 if ``inputs`` has no third item."""
    (h,), (synapses, drive, *spans) = state, inputs
    feedback, threshold, g_x, g_u, k_x, k_u, g_leak, elastance, e_leak = params
    s, r = torch.sigmoid(feedback * h + threshold), torch.sigmoid(synapses)
    update = e_leak * torch.tanh(k_x * s + k_u * r + g_leak)
    change = torch.sigmoid(elastance * h + drive) * (update - torch.sigmoid(g_x * s + g_u * r + g_leak) * h)
    return (h + spans[0] * change if spans else h + change,)
