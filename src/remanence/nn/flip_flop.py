"""The continuous flip-flop: two liquid neurons that inhibit each other."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.equilibria import Equilibria, Outside, find_equilibria
from remanence.nn.flip_flop_network import Lateral
from remanence.nn.flip_flop_step import PARAMETERS, Dynamics, Gate, Neuron, build_neurons, driven_step, flip_flop_step
from remanence.nn.memory import Memory
from remanence.nn.pointwise_form import PointwiseForm
from remanence.nn.structure import Device
from remanence.nn.synapses import Synapses
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.scan.operation import scan
from remanence.wiring import Adjacency, Wiring, dense

POLARITIES = {"inhibitory": -1.0, "shunting": 0.0, "excitatory": 1.0}
"""Reversal potential of a synapse at the start, and its sign for good."""

MUTUAL = ("inhibitory", "shunting")
INPUT_SYNAPSES = ("gate", "affine", "exact")


class CFF(Memory):
    """Continuous flip-flops: pairs of LTC neurons, q and r, that inhibit each other and act on themselves.

    Each neuron v, with u the other one of the pair and x the input, obeys::

        C dv/dt = g (V - v) + C w_x σ(γ_x W x + b) (E_x - v)
                  + w_m σ(γ_m (u - μ_m)) (E_m - v) + w_s σ(γ_s (v - μ_s)) (E_s - v)

    advanced by K sub-steps of the semi-implicit Euler rule, Δ = timespan / K, which is stable for any Δ::

        v <- v + Δ (g V + Σ conductance · E - G v) / (C + Δ G),    G = g + Σ conductance

    The conductances C, g, w and the slopes γ are positive by construction. Only q is the output.

    Without a ``wiring`` pairs do not see each other: the step is pointwise over pairs, and the whole sequence is one
    fused scan (:func:`remanence.scan`). With one, A_ij ≠ 0 is a synapse from q_j to both neurons of pair i, of the sign
    of A_ij, and the layer runs as a network of 2 ``hidden_size`` liquid neurons
    (:func:`remanence.ops.ltc.evolve`).

    At the start every pair is bistable (it holds one bit without input). C is spread log-uniformly over
    1 ... 30 ``horizon``, so that some pairs are fast and about a third outlast the sequence: only these carry a
    gradient through all of it. The gates of the input are closed: b = min(-5, -2 - log min(C, ``horizon``)), so that a
    slow pair does not lose through its gate what it would otherwise keep. γ_x = -b, so that W = 1 would let an input of
    1 open the gate half: W learns the faster, the tighter its gate is closed.

    Args:
        input_size: number of input channels.
        hidden_size: pairs.
        sub_steps: K, 1 to 8; default 1.
        self_synapse: ``"inhibitory"`` (default, E_s < 0), ``"shunting"`` (E_s = 0) or ``"excitatory"`` (E_s > 0).
        mutual_synapse: ``"inhibitory"`` (default, E_m < 0) or ``"shunting"`` (E_m = 0): then a pair lives between 0 and
            1, with steeper slopes and thresholds in the middle.
        horizon: how many time steps the memory should span; default 100.
        input_synapse: how the input acts: ``"gate"`` (default), as in the equation; ``"affine"``, where E_x too is an
            affine projection of the input; or ``"exact"``, by a synapse from every input as an LTC has them,
            ``Σ_k w_k σ(γ_k (x_k - μ_k)) (E_k - v)``.
        wiring: A (:mod:`remanence.wiring`), or a matrix or graph that :meth:`Wiring.of` takes, its diagonal 0; default:
            isolated pairs.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih [2 hidden_size, input_size] (W) and bias [2 hidden_size] (b), the rows of q before those of r; all
        others [2, hidden_size], q before r: the logarithms of C, g, w and γ (γ_x is log_slope_input), and V, μ, E_x and
        E_m as they are (for E_m and E_s the logarithm of their magnitude). With affine input synapses also
        weight_potential [2 hidden_size, input_size], zero at first; with exact ones sensory (:class:`Synapses`) in
        place of W, b, γ_x, w_x and E_x. With a wiring lateral (:class:`Synapses`), the synapses between pairs.

    State:
        (q, r), each [batch, hidden_size]; at first q is low and r is high.

    Raises:
        ValueError: a size, ``sub_steps``, ``self_synapse``, ``mutual_synapse``, ``input_synapse`` or ``horizon`` out of
            range, or a wiring that does not fit.

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
        self_synapse: Literal["inhibitory", "shunting", "excitatory"] = "inhibitory",
        mutual_synapse: Literal["inhibitory", "shunting"] = "inhibitory",
        horizon: int = 100,
        input_synapse: Literal["gate", "affine", "exact"] = "gate",
        wiring: Wiring | Adjacency | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        if positive_integer("sub_steps", sub_steps) > 8:
            raise UserError(f"sub_steps must be 1 to 8, got {sub_steps}")
        if self_synapse not in POLARITIES:
            raise UserError(f"self_synapse must be one of {', '.join(POLARITIES)}, got {self_synapse!r}")
        if mutual_synapse not in MUTUAL:
            raise UserError(f"mutual_synapse must be one of {', '.join(MUTUAL)}, got {mutual_synapse!r}")
        if input_synapse not in INPUT_SYNAPSES:
            raise UserError(f"input_synapse must be one of {', '.join(INPUT_SYNAPSES)}, got {input_synapse!r}")
        self.sub_steps = sub_steps
        self.self_synapse, self.mutual_synapse = self_synapse, mutual_synapse
        self.horizon = positive_integer("horizon", horizon)
        self.input_synapse = input_synapse
        if input_synapse == "exact":
            signs = dense(max(input_size, 2 * hidden_size), self_edges=True, inhibitory=0.5).adjacency
            self.sensory = Synapses(signs[: 2 * hidden_size, :input_size])
        else:
            self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))  # W
            self.bias = nn.Parameter(torch.empty(2 * hidden_size))  # b
        if input_synapse == "affine":
            self.weight_potential = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        for name, parameter in PARAMETERS.items():
            if input_synapse != "exact" or not parameter.of_input:
                self.register_parameter(name, nn.Parameter(torch.empty(2, hidden_size)))
        self.lateral = None if wiring is None else self._build_lateral(wiring)
        self.steps_in_graph = wiring is None and input_synapse != "exact"
        if POLARITIES[mutual_synapse]:
            self.log_potential_mutual = nn.Parameter(torch.empty(2, hidden_size))  # log |E_m|
        if POLARITIES[self_synapse]:
            self.log_potential_self = nn.Parameter(torch.empty(2, hidden_size))  # log |E_s|
        self.reset_parameters()

    def _build_lateral(self, wiring: Wiring | Adjacency) -> Lateral:
        graph = wiring if isinstance(wiring, Wiring) else Wiring.of(wiring)
        if graph.neurons != self.hidden_size:
            raise UserError(f"hidden_size is {self.hidden_size} pairs, but the wiring has {graph.neurons}")
        self.fix_wiring(graph)
        return Lateral(graph)

    def reset_parameters(self) -> None:
        """Draw every parameter anew: bistable pairs with closed gates."""
        with torch.no_grad():
            shunting = self.mutual_synapse == "shunting"
            for name, parameter in PARAMETERS.items():
                if hasattr(self, name):
                    getattr(self, name).uniform_(*(parameter.shunting if shunting else parameter.inhibitory))
            self.log_capacitance.uniform_(0, math.log(30 * self.horizon))
            # A slow pair forgets through a gate that leaks faster than it does: the slower, the tighter it is closed.
            slowness = self.log_capacitance.clamp(max=math.log(self.horizon))
            closed = (-2 - slowness).clamp(max=-5)
            gate = self._reset_input_synapses(closed)
            # What holds a neuron up: its leak, and what comes through the closed gate. Inhibition must outweigh both.
            tonic = self.log_leak.exp() + gate
            self.log_conductance_mutual += tonic.log()
            self.log_conductance_self += tonic.log()
            if not shunting:
                self.log_potential_mutual.uniform_(-0.05, 0.05)
            if POLARITIES[self.self_synapse]:
                self.log_potential_self.zero_()
            if self.lateral is not None:
                self.lateral.reset_for(tonic)

    def _reset_input_synapses(self, closed: Tensor) -> Tensor:
        """Reset the input synapses; return their conductance for a silent input and these ``closed`` gates."""
        if self.input_synapse == "exact":
            self.sensory.reset_parameters()
            receiver = self.sensory.receiver
            # Half of the inputs inhibit: they must let even less through than a gate that pulls upwards.
            closed = torch.minimum(closed, -3 - self.log_capacitance)
            self.sensory.threshold.copy_(-closed.flatten()[receiver] / self.sensory.slope)
            self.sensory.log_weight.copy_(self.log_capacitance.flatten()[receiver] - math.log(self.input_size))
            return (self.log_capacitance + closed).exp()
        bound = 1 / math.sqrt(self.input_size)
        nn.init.uniform_(self.weight_ih, -bound, bound)  # γ_x W
        self.bias.copy_(closed.flatten())
        self.log_slope_input.copy_((-closed).log())
        self.weight_ih /= -closed.flatten()[:, None]
        if self.input_synapse == "affine":
            nn.init.zeros_(self.weight_potential)
        return (self.log_capacitance + self.log_conductance_input + closed).exp()

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return (q, r): every flip-flop holds a 0, q low and r high."""
        low, high = (0.0, 0.8) if self.mutual_synapse == "shunting" else (-0.3, 0.6)
        shape = (batch_size, self.hidden_size)
        return self.log_capacitance.new_full(shape, low), self.log_capacitance.new_full(shape, high)

    def neurons(self) -> tuple[Neuron, Neuron]:
        """Return the rates (conductances / C) and currents of q and of r, each [hidden_size]."""
        return build_neurons(self._polarities, self._stack_parameters(self._dynamics).unbind(0))

    def equilibria(self) -> Equilibria:
        """Find all equilibria, stable or not, of the differential equation for a silent input (x = 0).

        Without gradients, in float64; synapses from other pairs left out.
        """
        with torch.no_grad():
            silent = self.log_capacitance.new_zeros(1, self.input_size)
            rate, current = (from_input[0].chunk(2) for from_input in self._compute_outside(silent))
        return find_equilibria(*self.neurons(), Outside(rate[0], current[0]), Outside(rate[1], current[1]))

    def bistable(self) -> Bool[Tensor, " hidden"]:
        """Return which pairs hold a bit for a silent input: those with at least two stable equilibria."""
        return self.equilibria().stable.sum(0) >= 2

    def pointwise_form(self) -> PointwiseForm | None:
        """Return the step, W and the other parameters, if pairs are isolated and their inputs are gates."""
        if self.lateral is not None or self.input_synapse != "gate":
            return None
        return PointwiseForm(self._step, self.weight_ih, self._params())

    def _run(
        self,
        x: Tensor,
        state: tuple[Tensor, Tensor],
        timespans: Tensor | None = None,
        *,
        episodes: Episodes | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if self.lateral is not None:
            outside, capacitance = self._compute_outside(x), self.log_capacitance.exp()
            return self.lateral.evolve(
                state, self.neurons(), capacitance, outside, self.sub_steps, timespans, episodes=episodes
            )
        drives = self._compute_drives(x)
        inputs = drives if timespans is None else _append_timespans(drives, timespans)
        (q, _), (last_q, last_r) = scan(self._step, inputs, state, self._params(), **as_options(episodes))
        return q, (last_q, last_r)

    def _advance(
        self, x_t: Tensor, state: tuple[Tensor, Tensor], timespans: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if self.lateral is not None:
            q, state = self._run(x_t[:, None], state, None if timespans is None else timespans[:, None])
            return q[:, 0], state
        drives = self._compute_drives(x_t)
        inputs = drives.unbind(-2) if timespans is None else _append_timespans(drives, timespans)
        q, r = self._step(state, inputs, self._params().unbind(0))
        return q, (q, r)

    @property
    def _step(self) -> partial[tuple[Tensor, Tensor]]:
        step = flip_flop_step if self.input_synapse == "gate" else driven_step
        return partial(step, self.sub_steps, self._polarities)

    def _params(self) -> Tensor:
        """Stack the parameters of the step as rows: each of q, then the same of r."""
        return self._stack_parameters((*(Gate._fields if self.input_synapse == "gate" else ()), *self._dynamics))

    @property
    def _dynamics(self) -> tuple[str, ...]:
        """Names of the parameters that a pair has whatever its input; no potentials that are 0."""
        potentials = ("log_potential_mutual", "log_potential_self")
        return *Dynamics._fields, *(name for name, sign in zip(potentials, self._polarities, strict=True) if sign)

    @property
    def _polarities(self) -> tuple[float, float]:
        return POLARITIES[self.mutual_synapse], POLARITIES[self.self_synapse]

    def _stack_parameters(self, names: Sequence[str]) -> Tensor:
        return torch.cat([getattr(self, name).view(2, -1) for name in names])

    def _compute_drives(self, x: Tensor) -> Tensor:
        """Compute the inputs of the step, [..., inputs, hidden_size]: W x, or rates and currents from the input."""
        if self.input_synapse == "gate":
            return F.linear(x, self.weight_ih).unflatten(-1, (2, -1))
        return torch.cat(self._compute_outside(x), -1).unflatten(-1, (4, -1))

    def _compute_outside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the rates and currents from the input, [..., 2 hidden_size] each."""
        if self.input_synapse == "exact":
            conductance, current = self.sensory(x)
            capacitance = self.log_capacitance.exp().flatten()
            return conductance / capacitance, current / capacitance
        gate = self.log_slope_input.exp().flatten() * F.linear(x, self.weight_ih) + self.bias
        rate = self.log_conductance_input.exp().flatten() * torch.sigmoid(gate)
        potential = self.potential_input.flatten()
        if self.input_synapse == "affine":
            potential = F.linear(x, self.weight_potential, potential)
        return rate, rate * potential


def _append_timespans(drives: Tensor, timespans: Tensor) -> tuple[Tensor, ...]:
    inputs = drives.unbind(-2)
    return *inputs, timespans.to(drives.dtype)[..., None].expand_as(inputs[0])
