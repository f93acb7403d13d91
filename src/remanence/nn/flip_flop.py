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
"""Reversal potential of a synapse at the start, and its sign for good."""
MUTUAL = ("inhibitory", "shunting")


class CFF(Memory):
    """Isolated continuous flip-flops: pairs of LTC neurons, q and r, that inhibit each other and act on themselves.

    Each neuron v, with u the other one of the pair and x the input, obeys::

        C dv/dt = g (V - v) + C w_x σ(γ_x W x + b) (E_x - v)
                  + w_m σ(γ_m (u - μ_m)) (E_m - v) + w_s σ(γ_s (v - μ_s)) (E_s - v)

    advanced by K sub-steps of the semi-implicit Euler rule, Δ = timespan / K, which is stable for any Δ::

        v <- (C/Δ v + g V + Σ conductance · E) / (C/Δ + g + Σ conductance)

    The conductances C, g, w and the slopes γ are positive by construction. Only q is the output. Pairs do not see each
    other: the step is pointwise over pairs, and the whole sequence is one fused scan (:func:`remanence.scan`).

    At the start every pair is bistable (it holds one bit without input). C is spread log-uniformly over
    1 ... 30 ``horizon``, so that some pairs are fast and about a third outlast the sequence: only these carry a
    gradient through all of it. The gates of the input are closed: b = min(-5, -2 - log min(C, ``horizon``)), so that a
    slow pair does not lose through its gate what it would otherwise keep. γ_x = -b, so that W = 1 would let an input of
    1 open the gate half: W learns the faster, the tighter its gate is closed.

    Args:
        input_size: channels of the input.
        hidden_size: pairs.
        sub_steps: K, 1 to 8; default 1.
        self_synapse: ``"inhibitory"`` (default, E_s < 0), ``"shunting"`` (E_s = 0) or ``"excitatory"`` (E_s > 0).
        mutual_synapse: ``"inhibitory"`` (default, E_m < 0) or ``"shunting"`` (E_m = 0): then a pair lives between 0 and
            1, with steeper slopes and thresholds in the middle.
        horizon: how many time steps the memory should span; default 100.

    Parameters:
        weight_ih [2 hidden_size, input_size] (W) and bias [2 hidden_size] (b), the rows of q before those of r; all
        others [2, hidden_size], q before r: the logarithms of C, g, w and γ (γ_x is log_slope_input), and V, μ, E_x and
        E_m as they are (for E_m and E_s the logarithm of their magnitude).

    State:
        (q, r), each [batch, hidden_size]; at first q is low and r is high.

    Raises:
        ValueError: a size, ``sub_steps``, ``self_synapse``, ``mutual_synapse`` or ``horizon`` out of range.

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
    log_slope_input: Tensor
    potential_input: Tensor
    log_conductance_mutual: Tensor
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
        mutual_synapse: str = "inhibitory",
        horizon: int = 100,
    ):
        super().__init__(input_size, hidden_size)
        if positive_integer("sub_steps", sub_steps) > 8:
            raise ValueError(f"sub_steps must be 1 to 8, got {sub_steps}")
        if self_synapse not in POLARITIES:
            raise ValueError(f"self_synapse must be one of {', '.join(POLARITIES)}, got {self_synapse!r}")
        if mutual_synapse not in MUTUAL:
            raise ValueError(f"mutual_synapse must be one of {', '.join(MUTUAL)}, got {mutual_synapse!r}")
        self.sub_steps = sub_steps
        self.self_synapse, self.mutual_synapse = self_synapse, mutual_synapse
        self.horizon = positive_integer("horizon", horizon)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))  # W
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))  # b
        for name in _PER_NEURON:
            self.register_parameter(name, nn.Parameter(torch.empty(2, hidden_size)))
        if POLARITIES[mutual_synapse]:
            self.log_potential_mutual = nn.Parameter(torch.empty(2, hidden_size))  # log |E_m|
        if POLARITIES[self_synapse]:
            self.log_potential_self = nn.Parameter(torch.empty(2, hidden_size))  # log |E_s|
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew: bistable pairs with closed gates."""
        bound = 1 / math.sqrt(self.input_size)
        nn.init.uniform_(self.weight_ih, -bound, bound)  # γ_x W
        with torch.no_grad():
            shunting = self.mutual_synapse == "shunting"
            for name, (low, high) in (_PER_NEURON | _SHUNTING if shunting else _PER_NEURON).items():
                getattr(self, name).uniform_(low, high)
            self.log_capacitance.uniform_(0, math.log(30 * self.horizon))
            # A slow pair forgets through a gate that leaks faster than it does: the slower, the tighter it is closed.
            slowness = self.log_capacitance.clamp(max=math.log(self.horizon))
            closed = torch.minimum(-2 - slowness, self.bias.new_tensor(-5.0))
            self.bias.copy_(closed.flatten())
            self.log_slope_input.copy_((-closed).log())
            self.weight_ih /= -closed.flatten()[:, None]
            # What holds a neuron up: its leak, and what comes through the closed gate. Inhibition must outweigh both.
            gate = (self.log_capacitance + self.log_conductance_input + closed).exp()
            tonic = (self.log_leak.exp() + gate).log()
            self.log_conductance_mutual += tonic
            self.log_conductance_self += tonic
            if not shunting:
                self.log_potential_mutual.uniform_(-0.05, 0.05)
            if POLARITIES[self.self_synapse]:
                self.log_potential_self.zero_()

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """(q, r): every flip-flop holds a 0, q low and r high."""
        ones = self.log_capacitance.new_ones(batch_size, self.hidden_size)
        low, high = (0.0, 0.8) if self.mutual_synapse == "shunting" else (-0.3, 0.6)
        return low * ones, high * ones

    def neurons(self) -> tuple["Neuron", "Neuron"]:
        """What the step needs to know of q and of r: rates, that is conductances divided by C, each [hidden_size]."""
        capacitance = self.log_capacitance.exp()
        leak, mutual, onto_itself = (
            log.exp() / capacitance for log in (self.log_leak, self.log_conductance_mutual, self.log_conductance_self)
        )
        gate = self.log_conductance_input.exp()
        slope_mutual, slope_self = self.log_slope_mutual.exp(), self.log_slope_self.exp()
        potential_mutual, potential_self = (
            POLARITIES[kind] * getattr(self, f"log_potential_{name}").exp()
            if POLARITIES[kind]
            else torch.zeros_like(leak)
            for name, kind in (("mutual", self.mutual_synapse), ("self", self.self_synapse))
        )
        columns = Neuron(
            leak=leak,
            leak_current=leak * self.leak_potential,
            gate=gate,
            gate_current=gate * self.potential_input,
            mutual=mutual,
            mutual_current=mutual * potential_mutual,
            mutual_slope=slope_mutual,
            mutual_offset=-slope_mutual * self.threshold_mutual,
            onto_itself=onto_itself,
            onto_itself_current=onto_itself * potential_self,
            onto_itself_slope=slope_self,
            onto_itself_offset=-slope_self * self.threshold_self,
        )
        q, r = zip(*(column.unbind(0) for column in columns), strict=True)
        return Neuron(*q), Neuron(*r)

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
        (q, _), (last_q, last_r) = scan(self._step, self._inputs(x, timespans), state, self._params())
        return q, (last_q, last_r)

    def _advance(
        self, x_t: Tensor, state: tuple[Tensor, Tensor], timespans: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, r = self._step(state, self._inputs(x_t, timespans), self._params())
        return q, (q, r)

    @property
    def _step(self) -> partial[tuple[Tensor, Tensor]]:
        return partial(flip_flop_step, self.sub_steps)

    def _params(self) -> tuple[Tensor, ...]:
        q, r = self.neurons()
        return (*q, *r)

    def _inputs(self, x: Tensor, timespans: Tensor | None) -> tuple[Tensor, ...]:
        gates = F.linear(x, self.log_slope_input.exp().view(-1, 1) * self.weight_ih, self.bias)
        gate_q, gate_r = gates.chunk(2, -1)
        if timespans is None:
            return gate_q, gate_r
        return gate_q, gate_r, timespans.to(gates.dtype)[..., None].expand_as(gate_q)


_PER_NEURON = {
    "log_capacitance": (0.0, 0.0),  # log C; reset_parameters spreads it by the horizon
    "log_leak": (-0.05, 0.05),  # log g
    "leak_potential": (0.95, 1.05),  # V: a tonic drive upwards, against which the other neuron inhibits
    "log_conductance_input": (-0.05, 0.05),  # log w_x
    "log_slope_input": (0.0, 0.0),  # log γ_x; reset_parameters sets it by the bias
    "potential_input": (0.9, 1.1),  # E_x
    "log_conductance_mutual": (0.65, 0.75),  # log w_m: twice what holds the neuron up, ten times w_s
    "log_slope_mutual": (2.0, 2.1),  # log γ_m
    "threshold_mutual": (0.05, 0.15),  # μ_m
    "log_conductance_self": (-1.65, -1.55),  # log w_s
    "log_slope_self": (2.0, 2.1),  # log γ_s
    "threshold_self": (0.05, 0.15),  # μ_s
}
"""The parameters [2, hidden_size], and the range that each is drawn from."""

_SHUNTING = {
    "log_conductance_input": (0.65, 0.75),
    "log_conductance_mutual": (1.35, 1.45),
    "log_slope_mutual": (2.7, 2.8),
    "threshold_mutual": (0.4, 0.45),
    "log_slope_self": (2.7, 2.8),
    "threshold_self": (0.4, 0.45),
}
"""Other ranges for pairs that only shunt each other: without a potential below 0, what is low must be well below μ."""


class Neuron(NamedTuple):
    """One neuron of every pair, each [hidden_size]: rates (conductance / C), and currents (rate · potential)."""

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
    sub_steps: int, state: tuple[Tensor, ...], inputs: tuple[Tensor, ...], params: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """One time step of isolated flip-flops, as :func:`remanence.scan` wants it.

    Args:
        sub_steps: K.
        state: (q, r).
        inputs: the gates W x + b of q and of r, and where given the timespan; 1 otherwise.
        params: the fields of :class:`Neuron` for q, then those for r.
    """
    half = len(Neuron._fields)
    of_q, of_r = Neuron(*params[:half]), Neuron(*params[half:])
    rate: Tensor | float = sub_steps / inputs[2] if len(inputs) == 3 else float(sub_steps)  # 1/Δ
    q, r = state
    open_q, open_r = torch.sigmoid(inputs[0]), torch.sigmoid(inputs[1])
    for _ in range(sub_steps):
        q, r = _sub_step(of_q, rate, open_q, q, r), _sub_step(of_r, rate, open_r, r, q)
    return q, r


@no_type_check
def _sub_step(neuron: Neuron, rate: Tensor | float, opened: Tensor, v: Tensor, u: Tensor) -> Tensor:
    inhibited = torch.sigmoid(neuron.mutual_slope * u + neuron.mutual_offset)
    recurrent = torch.sigmoid(neuron.onto_itself_slope * v + neuron.onto_itself_offset)
    current = neuron.leak_current + neuron.gate_current * opened
    current = current + neuron.mutual_current * inhibited + neuron.onto_itself_current * recurrent
    conductance = neuron.leak + neuron.gate * opened + neuron.mutual * inhibited + neuron.onto_itself * recurrent
    return (rate * v + current) / (rate + conductance)
