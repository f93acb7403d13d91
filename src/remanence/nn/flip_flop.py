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
"""Initial reversal potential of a synapse; its sign is permanent."""

MUTUAL = ("inhibitory", "shunting")
INPUT_SYNAPSES = ("gate", "affine", "exact")


class CFF(Memory):
    """Continuous flip-flops: pairs of LTC neurons, q and r, that inhibit each other, each with a synapse to itself.

    Each neuron v, where u is the other neuron of the pair and x the input, obeys::

        C dv/dt = g (V - v) + C w_x σ(γ_x W x + b) (E_x - v)
                  + w_m σ(γ_m (u - μ_m)) (E_m - v) + w_s σ(γ_s (v - μ_s)) (E_s - v)

    and is advanced by K sub-steps of the semi-implicit Euler rule, Δ = timespan / K, which is stable for any Δ::

        v <- v + Δ (g V + Σ conductance · E - G v) / (C + Δ G),    G = g + Σ conductance

    The conductances C, g, w and the slopes γ are positive by construction. Only q is the output.

    Without a ``wiring``, pairs are independent: the step is pointwise over pairs, and the whole sequence is one fused
    scan (:func:`remanence.scan`). With a ``wiring``, A_ij ≠ 0 is a synapse from q_j to both neurons of pair i with the
    sign of A_ij, and the layer runs as a network of 2 ``hidden_size`` liquid neurons
    (:func:`remanence.ops.ltc.evolve`).

    Every pair is initially bistable (it holds one bit without input). C is drawn log-uniformly from 1 to
    30 ``horizon``: some pairs are fast, and about a third outlast the sequence; only these carry a gradient through all
    of it. The input gates are initially closed, b = min(-5, -2 - log min(C, ``horizon``)), so that a slow pair does not
    lose its state through its own gate. γ_x = -b, so that with W = 1 an input of 1 half opens the gate; W then learns
    faster the more tightly its gate is closed.

    Args:
        input_size: number of input channels.
        hidden_size: number of pairs.
        sub_steps: number of sub-steps K in a time step, 1 to 8; default: 1.
        self_synapse: ``"inhibitory"`` (default, E_s < 0), ``"shunting"`` (E_s = 0) or ``"excitatory"`` (E_s > 0).
        mutual_synapse: ``"inhibitory"`` (default, E_m < 0) or ``"shunting"`` (E_m = 0); with the latter the states stay
            between 0 and 1, and slopes are steeper and thresholds near 0.5.
        horizon: number of time steps that the memory should span; default: 100.
        input_synapse: how the input acts: ``"gate"`` (default), as in the equation; ``"affine"``, where E_x is an
            affine projection of the input as well; or ``"exact"``, one synapse from every input as in an LTC,
            ``Σ_k w_k σ(γ_k (x_k - μ_k)) (E_k - v)``.
        wiring: A (:mod:`remanence.wiring`), or a matrix or graph that :meth:`Wiring.of` accepts, with a zero diagonal;
            default: isolated pairs.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih [2 hidden_size, input_size] (W) and bias [2 hidden_size] (b), the rows of q before those of r. All
        others are [2, hidden_size], q before r: the logarithms of C, g, w, γ (γ_x is log_slope_input), |E_m| and |E_s|;
        V, μ and E_x directly. With affine input synapses also weight_potential [2 hidden_size, input_size], initially
        zero; with exact input synapses, sensory (:class:`Synapses`) instead of W, b, γ_x, w_x and E_x. With a wiring
        also lateral (:class:`Synapses`), the synapses between pairs.

    State:
        (q, r), each [batch, hidden_size]; initially q is low and r is high.

    Raises:
        ValueError: a size, ``sub_steps``, ``self_synapse``, ``mutual_synapse``, ``input_synapse`` or ``horizon`` is
            invalid, or the wiring does not match ``hidden_size``.

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
        """Reinitialise all parameters: bistable pairs with closed gates."""
        with torch.no_grad():
            shunting = self.mutual_synapse == "shunting"
            for name, parameter in PARAMETERS.items():
                if hasattr(self, name):
                    getattr(self, name).uniform_(*(parameter.shunting if shunting else parameter.inhibitory))
            self.log_capacitance.uniform_(0, math.log(30 * self.horizon))
            # A gate that leaks faster than its pair would erase it: the slower a pair, the tighter its gate is closed.
            slowness = self.log_capacitance.clamp(max=math.log(self.horizon))
            closed = (-2 - slowness).clamp(max=-5)
            gate = self._reset_input_synapses(closed)
            # Leak and closed gate pull a neuron up; inhibition must outweigh both.
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
        """Reinitialise the input synapses; return their conductance for zero input, with gate biases ``closed``."""
        if self.input_synapse == "exact":
            self.sensory.reset_parameters()
            receiver = self.sensory.receiver
            # Half of the inputs inhibit: they must conduct even less than a gate that pulls upwards.
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
        """Return (q, r) with every flip-flop holding a 0: q low, r high."""
        low, high = (0.0, 0.8) if self.mutual_synapse == "shunting" else (-0.3, 0.6)
        shape = (batch_size, self.hidden_size)
        return self.log_capacitance.new_full(shape, low), self.log_capacitance.new_full(shape, high)

    def neurons(self) -> tuple[Neuron, Neuron]:
        """Return the rates (conductances / C) and currents of q and of r, each [hidden_size]."""
        return build_neurons(self._polarities, self._stack_parameters(self._dynamics).unbind(0))

    def equilibria(self) -> Equilibria:
        """Find all equilibria, stable and unstable, of the differential equation for zero input.

        Computed without gradients, in float64; synapses between pairs are ignored.

        Returns:
            The equilibria of every pair and whether each is stable.
        """
        with torch.no_grad():
            silent = self.log_capacitance.new_zeros(1, self.input_size)
            rate, current = (from_input[0].chunk(2) for from_input in self._compute_outside(silent))
        return find_equilibria(*self.neurons(), Outside(rate[0], current[0]), Outside(rate[1], current[1]))

    def bistable(self) -> Bool[Tensor, " hidden"]:
        """Return which pairs hold a bit without input: those with at least two stable equilibria."""
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
        """Names of the parameters of a pair other than those of its input synapse; potentials fixed at 0 have none."""
        potentials = ("log_potential_mutual", "log_potential_self")
        return *Dynamics._fields, *(name for name, sign in zip(potentials, self._polarities, strict=True) if sign)

    @property
    def _polarities(self) -> tuple[float, float]:
        return POLARITIES[self.mutual_synapse], POLARITIES[self.self_synapse]

    def _stack_parameters(self, names: Sequence[str]) -> Tensor:
        return torch.cat([getattr(self, name).view(2, -1) for name in names])

    def _compute_drives(self, x: Tensor) -> Tensor:
        """Compute the inputs of the step, [..., inputs, hidden_size]: W x, or the input's rates and currents."""
        if self.input_synapse == "gate":
            return F.linear(x, self.weight_ih).unflatten(-1, (2, -1))
        return torch.cat(self._compute_outside(x), -1).unflatten(-1, (4, -1))

    def _compute_outside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the input's rates and currents, [..., 2 hidden_size] each."""
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
