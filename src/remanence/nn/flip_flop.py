"""The continuous flip-flop: two liquid neurons that inhibit each other."""

import math
from functools import partial
from typing import NamedTuple, no_type_check

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.nn.equilibria import Equilibria, equilibria
from remanence.nn.memory import Memory, positive_integer
from remanence.scan.dispatch import scan

POLARITIES = {"inhibitory": -1.0, "shunting": 0.0, "excitatory": 1.0}
"""Reversal potential of the self-synapse at the start, and its sign for good."""


class CFF(Memory):
    """Isolated continuous flip-flops: pairs of LTC neurons, q and r, that inhibit each other and act on themselves.

    Each neuron v, with u the other one of the pair and x the input, obeys::

        C dv/dt = g (V - v) + C w_x σ(W x + b) (E_x - v)
                  + w_m σ(γ_m (u - μ_m)) (E_m - v) + w_s σ(γ_s (v - μ_s)) (E_s - v)

    advanced by K sub-steps of the semi-implicit Euler rule, Δ = timespan / K, which is stable for any Δ::

        v <- (C/Δ v + g V + Σ conductance · E) / (C/Δ + g + Σ conductance)

    The conductances C, g, w and the slopes γ are positive by construction. Only q is the output. Pairs do not see each
    other: the step is pointwise over pairs, and the whole sequence is one fused scan (:func:`remanence.scan`).

    At the start every pair is bistable (it holds one bit without input). C is spread log-uniformly over
    1 ... 3 ``horizon``, so that some pairs are fast and some outlast the sequence. The gates of the input are closed:
    b = min(-5, -2 - log C), so that a slow pair does not lose through its gate what it would otherwise keep.

    Args:
        input_size: channels of the input.
        hidden_size: pairs.
        sub_steps: K, 1 to 8; default 1.
        self_synapse: ``"inhibitory"`` (default, E_s < 0), ``"shunting"`` (E_s = 0) or ``"excitatory"`` (E_s > 0).
        horizon: how many time steps the memory should span; default 100.

    Parameters:
        weight_ih [2 hidden_size, input_size] (W) and bias [2 hidden_size] (b), the rows of q before those of r; all
        others [2, hidden_size], q before r: the logarithms of C, g, w and γ, and V, μ, E_x and E_m as they are (for E_m
        and E_s the logarithm of their magnitude).

    State:
        (q, r), each [batch, hidden_size]; at first q is low and r is high.

    Raises:
        ValueError: a size, ``sub_steps``, ``self_synapse`` or ``horizon`` out of range.

    References:
        Hasani et al. 2020, Liquid time-constant networks; Lechner et al. 2020 (the semi-implicit rule).

    Example:
        >>> layer = CFF(3, 8, sub_steps=2)
        >>> y, (q, r) = layer(torch.randn(2, 5, 3), timespans=torch.rand(2, 5))
        >>> y.shape, torch.equal(y[:, -1], q)
        (torch.Size([2, 5, 8]), True)
    """

    continuous_time = True

    log_capacitance: Tensor
    log_leak: Tensor
    leak_potential: Tensor
    log_conductance_input: Tensor
    potential_input: Tensor
    log_conductance_mutual: Tensor
    log_potential_mutual: Tensor
    log_slope_mutual: Tensor
    threshold_mutual: Tensor
    log_conductance_self: Tensor
    log_slope_self: Tensor
    threshold_self: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        sub_steps: int = 1,
        self_synapse: str = "inhibitory",
        horizon: int = 100,
    ):
        super().__init__(input_size, hidden_size)
        if positive_integer("sub_steps", sub_steps) > 8:
            raise ValueError(f"sub_steps must be 1 to 8, got {sub_steps}")
        if self_synapse not in POLARITIES:
            raise ValueError(f"self_synapse must be one of {', '.join(POLARITIES)}, got {self_synapse!r}")
        self.sub_steps = sub_steps
        self.self_synapse = self_synapse
        self.horizon = positive_integer("horizon", horizon)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))  # W
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))  # b
        for name in _PER_NEURON:
            self.register_parameter(name, nn.Parameter(torch.empty(2, hidden_size)))
        if POLARITIES[self_synapse]:
            self.log_potential_self = nn.Parameter(torch.empty(2, hidden_size))  # log |E_s|
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew: bistable pairs with closed gates."""
        bound = 1 / math.sqrt(self.input_size)
        nn.init.uniform_(self.weight_ih, -bound, bound)
        with torch.no_grad():
            for name, (low, high) in _PER_NEURON.items():
                getattr(self, name).uniform_(low, high)
            self.log_capacitance.uniform_(0, math.log(3 * self.horizon))
            # A slow pair forgets through a gate that leaks faster than it does: the slower, the tighter it is closed.
            closed = torch.minimum(-2 - self.log_capacitance, self.bias.new_tensor(-5.0))
            self.bias.copy_(closed.flatten())
            # What holds a neuron up: its leak, and what comes through the closed gate. Inhibition must outweigh both.
            gate = (self.log_capacitance + self.log_conductance_input + closed).exp()
            tonic = (self.log_leak.exp() + gate).log()
            self.log_conductance_mutual += tonic
            self.log_conductance_self += tonic
            if POLARITIES[self.self_synapse]:
                self.log_potential_self.zero_()

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """(q, r): every flip-flop holds a 0, q low and r high."""
        shape = (batch_size, self.hidden_size)
        return self.log_capacitance.new_full(shape, -0.3), self.log_capacitance.new_full(shape, 0.6)

    def neurons(self) -> tuple["Neuron", "Neuron"]:
        """What the dynamics of q and of r are made of: rates, that is conductances / C, each [hidden_size]."""
        return _neurons(POLARITIES[self.self_synapse], self._params().unbind(0))

    def equilibria(self) -> Equilibria:
        """Where the pairs can rest while the input is silent (x = 0), by the differential equation: all, stable or not.

        Without gradients, in float64.
        """
        open_q, open_r = torch.sigmoid(self.bias.detach()).chunk(2)
        return equilibria(*self.neurons(), open_q, open_r)

    def bistable(self) -> Bool[Tensor, " hidden"]:
        """Which pairs hold a bit now, while the input is silent: those with two stable equilibria or more."""
        return self.equilibria().stable.sum(0) >= 2

    def _run(
        self, x: Tensor, state: tuple[Tensor, Tensor], timespans: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        drives = self._drives(x)
        inputs = drives if timespans is None else self._timed(drives, timespans)
        (q, _), (last_q, last_r) = scan(self._step, inputs, state, self._params())
        return q, (last_q, last_r)

    def _advance(
        self, x_t: Tensor, state: tuple[Tensor, Tensor], timespans: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        drives = self._drives(x_t)
        inputs = drives.unbind(-2) if timespans is None else self._timed(drives, timespans)
        q, r = self._step(state, inputs, self._params().unbind(0))
        return q, (q, r)

    @property
    def _step(self) -> partial[tuple[Tensor, Tensor]]:
        return partial(flip_flop_step, self.sub_steps, POLARITIES[self.self_synapse])

    def _params(self) -> Tensor:
        """Rows for the step: each parameter of q, then the same of r."""
        names = Parameters._fields[1:] if POLARITIES[self.self_synapse] else Parameters._fields[1:-1]
        return torch.cat((self.bias.view(2, -1), *(getattr(self, name) for name in names)))

    def _drives(self, x: Tensor) -> Tensor:
        """W x, [..., 2, hidden_size]."""
        return F.linear(x, self.weight_ih).unflatten(-1, (2, -1))

    @staticmethod
    def _timed(drives: Tensor, timespans: Tensor) -> tuple[Tensor, ...]:
        drive_q, drive_r = drives.unbind(-2)
        return drive_q, drive_r, timespans.to(drives.dtype)[..., None].expand_as(drive_q)


_PER_NEURON = {
    "log_capacitance": (0.0, 0.0),  # log C; reset_parameters spreads it by the horizon
    "log_leak": (-0.05, 0.05),  # log g
    "leak_potential": (0.95, 1.05),  # V: a tonic drive upwards, against which the other neuron inhibits
    "log_conductance_input": (-0.05, 0.05),  # log w_x
    "potential_input": (0.9, 1.1),  # E_x
    "log_conductance_mutual": (0.65, 0.75),  # log w_m: twice what holds the neuron up, ten times w_s
    "log_potential_mutual": (-0.05, 0.05),  # log -E_m
    "log_slope_mutual": (2.0, 2.1),  # log γ_m
    "threshold_mutual": (0.05, 0.15),  # μ_m
    "log_conductance_self": (-1.65, -1.55),  # log w_s
    "log_slope_self": (2.0, 2.1),  # log γ_s
    "threshold_self": (0.05, 0.15),  # μ_s
}
"""The parameters [2, hidden_size], and the range that each is drawn from."""


class Parameters(NamedTuple):
    """The parameters of one neuron of every pair, as the layer has them, each [hidden_size]."""

    bias: Tensor
    log_capacitance: Tensor
    log_leak: Tensor
    leak_potential: Tensor
    log_conductance_input: Tensor
    potential_input: Tensor
    log_conductance_mutual: Tensor
    log_potential_mutual: Tensor
    log_slope_mutual: Tensor
    threshold_mutual: Tensor
    log_conductance_self: Tensor
    log_slope_self: Tensor
    threshold_self: Tensor
    log_potential_self: Tensor | float = 0.0


class Neuron(NamedTuple):
    """One neuron of every pair, each [hidden_size]: rates (conductance / C), and currents (rate · potential)."""

    bias: Tensor
    leak: Tensor
    leak_current: Tensor
    gate: Tensor
    gate_current: Tensor
    mutual: Tensor
    mutual_current: Tensor
    mutual_slope: Tensor
    mutual_offset: Tensor
    onto_itself: Tensor
    onto_itself_current: Tensor
    onto_itself_slope: Tensor
    onto_itself_offset: Tensor


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def flip_flop_step(
    sub_steps: int,
    polarity: float,
    state: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    params: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor]:
    """One time step of isolated flip-flops, as :func:`remanence.scan` wants it.

    Args:
        sub_steps: K.
        polarity: sign of the potential of the synapses of a neuron to itself.
        state: (q, r).
        inputs: W x of q and of r, and where given the timespan; 1 otherwise.
        params: the fields of :class:`Parameters`, each for q and for r; without the last where the polarity is 0.
    """
    of_q, of_r = _neurons(polarity, params)
    rate: Tensor | float = sub_steps / inputs[2] if len(inputs) == 3 else float(sub_steps)  # 1/Δ
    q, r = state
    open_q, open_r = torch.sigmoid(inputs[0] + of_q.bias), torch.sigmoid(inputs[1] + of_r.bias)
    for _ in range(sub_steps):
        q, r = _sub_step(of_q, rate, open_q, q, r), _sub_step(of_r, rate, open_r, r, q)
    return q, r


@no_type_check
def _neurons(polarity: float, params: tuple[Tensor, ...]) -> tuple[Neuron, Neuron]:
    return _neuron(polarity, Parameters(*params[0::2])), _neuron(polarity, Parameters(*params[1::2]))


@no_type_check
def _neuron(polarity: float, p: Parameters) -> Neuron:
    capacitance = torch.exp(p.log_capacitance)
    leak, mutual, onto_itself = (
        torch.exp(log) / capacitance for log in (p.log_leak, p.log_conductance_mutual, p.log_conductance_self)
    )
    gate = torch.exp(p.log_conductance_input)
    slope_mutual, slope_self = torch.exp(p.log_slope_mutual), torch.exp(p.log_slope_self)
    potential_self = polarity * torch.exp(p.log_potential_self) if polarity else 0.0
    return Neuron(
        bias=p.bias,
        leak=leak,
        leak_current=leak * p.leak_potential,
        gate=gate,
        gate_current=gate * p.potential_input,
        mutual=mutual,
        mutual_current=-mutual * torch.exp(p.log_potential_mutual),
        mutual_slope=slope_mutual,
        mutual_offset=-slope_mutual * p.threshold_mutual,
        onto_itself=onto_itself,
        onto_itself_current=onto_itself * potential_self,
        onto_itself_slope=slope_self,
        onto_itself_offset=-slope_self * p.threshold_self,
    )


@no_type_check
def _sub_step(neuron: Neuron, rate: Tensor | float, opened: Tensor, v: Tensor, u: Tensor) -> Tensor:
    inhibited = torch.sigmoid(neuron.mutual_slope * u + neuron.mutual_offset)
    recurrent = torch.sigmoid(neuron.onto_itself_slope * v + neuron.onto_itself_offset)
    current = neuron.leak_current + neuron.gate_current * opened
    current = current + neuron.mutual_current * inhibited + neuron.onto_itself_current * recurrent
    conductance = neuron.leak + neuron.gate * opened + neuron.mutual * inhibited + neuron.onto_itself * recurrent
    return (rate * v + current) / (rate + conductance)
