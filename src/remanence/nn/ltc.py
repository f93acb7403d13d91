"""Liquid time-constant networks."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.memory import Memory
from remanence.nn.ncps_adapter import convert_from_ncps, convert_to_ncps
from remanence.nn.structure import Device
from remanence.nn.synapses import Synapses
from remanence.ops.episodes import Episodes, begin_anew, select_last
from remanence.ops.ltc import evolve
from remanence.ops.scan.layout import Tensors
from remanence.ops.time_loop import loop_over_time
from remanence.wiring import Adjacency, Wiring, dense

Change: TypeAlias = Callable[[Tensor], Tensor]
"""A function from v to dv/dt."""


class LTC(Memory):
    """Liquid time-constant network: leaky neurons joined by synapses whose conductance depends on the sender.

    Neuron i obeys::

        C_i dv_i/dt = g_i (V_i - v_i) + Σ_j w_ij σ(γ_ij (v_j - μ_ij)) (E_ij - v_i) + the same sum over the inputs x_k

    and is advanced by K sub-steps of Δ = timespan / K, by default with the semi-implicit Euler rule, which is stable
    for any Δ::

        v_i <- v_i + Δ (g_i V_i + Σ w σ(.) E - G_i v_i) / (C_i + Δ G_i),    G_i = g_i + Σ w σ(.)

    A timespan of 0 leaves the state unchanged.

    C, g and w are positive by construction, and every synapse keeps its sign. The effect of the inputs is computed for
    all time steps at once; on CPUs the loop over time and its gradient are one kernel each
    (:func:`remanence.ops.ltc.evolve`).

    Args:
        input_size: number of input channels.
        hidden_size: number of neurons.
        wiring: the synapses (:mod:`remanence.wiring`), or a matrix or graph that :meth:`Wiring.of` accepts; default:
            one from every neuron to every neuron, half of them inhibitory. If the wiring has layers, the output is the
            last layer. If it does not connect the inputs, every input is connected to every neuron.
        sub_steps: number of sub-steps K in a time step; default: 6.
        solver: ``"semi_implicit"`` (default), ``"explicit_euler"`` (first order, unstable for large Δ) or ``"rk4"``
            (fourth order).
        input_mapping: whether each input is first scaled and shifted by learned numbers; default: True.
        output_mapping: whether each output is scaled and shifted by learned numbers; default: True.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        synapses and sensory (:class:`Synapses`), log_capacitance (log C), log_leak (log g), leak_potential (V), all
        [hidden_size]; input_weight and input_bias [input_size], output_weight and output_bias [output_size].

    State:
        v [batch, hidden_size], initially zero.

    Raises:
        ValueError: a size or the solver is invalid, or the wiring does not match the sizes.

    References:
        Hasani et al. 2021, Liquid time-constant networks; Lechner et al. 2020, Neural circuit policies.

    Example:
        >>> from remanence.wiring import auto_ncp
        >>> layer = LTC(3, 20, wiring=auto_ncp(3, 20, outputs=2, seed=0))
        >>> y, v = layer(torch.randn(2, 5, 3), timespans=torch.rand(2, 5))
        >>> y.shape, v.shape
        (torch.Size([2, 5, 2]), torch.Size([2, 20]))
    """

    continuous_time = True

    outputs: Tensor
    input_weight: Tensor | None
    input_bias: Tensor | None
    output_weight: Tensor | None
    output_bias: Tensor | None

    steps_in_graph = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        wiring: Wiring | Adjacency | None = None,
        sub_steps: int = 6,
        solver: Literal["semi_implicit", "explicit_euler", "rk4"] = "semi_implicit",
        input_mapping: bool = True,
        output_mapping: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        input_size = positive_integer("input_size", input_size)
        hidden_size = positive_integer("hidden_size", hidden_size)
        if wiring is None:
            wiring = dense(hidden_size, self_edges=True, inhibitory=0.5)
        graph = wiring if isinstance(wiring, Wiring) else Wiring.of(wiring)
        if graph.neurons != hidden_size:
            raise UserError(f"hidden_size is {hidden_size}, but the wiring has {graph.neurons} neurons")
        super().__init__(input_size, hidden_size, len(graph.outputs))
        if graph.sensory is None:
            everything = dense(max(input_size, hidden_size), self_edges=True, inhibitory=0.5, seed=1).adjacency
            graph = Wiring(graph.adjacency, everything[:hidden_size, :input_size], graph.layer, graph.shape)
        sensory = graph.sensory
        assert sensory is not None
        if sensory.shape[1] != input_size:
            raise UserError(f"input_size is {input_size}, but the wiring has {sensory.shape[1]} inputs")
        if solver not in ("semi_implicit", *SOLVERS):
            raise UserError(f"solver must be one of semi_implicit, {', '.join(SOLVERS)}, got {solver!r}")
        self.sub_steps = positive_integer("sub_steps", sub_steps)
        self.solver = solver
        self.fix_wiring(graph)
        self.fix("outputs", graph.outputs)
        self.synapses, self.sensory = Synapses(graph.adjacency), Synapses(sensory)
        self.log_capacitance, self.log_leak, self.leak_potential = (
            nn.Parameter(torch.empty(hidden_size)) for _ in range(3)
        )
        for name, used, size in (("input", input_mapping, input_size), ("output", output_mapping, self.output_size)):
            for part in ("weight", "bias"):
                self.register_parameter(f"{name}_{part}", nn.Parameter(torch.empty(size)) if used else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise all parameters (Lechner et al. 2020); the mappings of inputs and outputs are the identity.

        C is drawn from [0.4, 0.6], g from [0.001, 1], V from [-0.2, 0.2].
        """
        with torch.no_grad():
            self.log_capacitance.uniform_(math.log(0.4), math.log(0.6))
            self.log_leak.uniform_(0.001, 1).log_()
            self.leak_potential.uniform_(-0.2, 0.2)
            for name in ("input", "output"):
                if getattr(self, f"{name}_weight") is not None:
                    getattr(self, f"{name}_weight").fill_(1.0)
                    getattr(self, f"{name}_bias").zero_()
        self.synapses.reset_parameters()
        self.sensory.reset_parameters()

    @classmethod
    def from_ncps(cls, module: nn.Module) -> "LTC":
        """Convert an ``ncps.torch.LTC`` with its wiring and weights.

        Args:
            module: the module of ncps.

        Returns:
            A layer with the same wiring and weights.

        Raises:
            ValueError: the module has mixed memory, which this layer does not support.
        """
        return convert_from_ncps(module, cls)

    def to_ncps(self) -> nn.Module:
        """Convert to an ``ncps.torch.LTC`` with this layer's wiring and weights.

        Returns:
            The module of ncps.

        Raises:
            ImportError: ncps is not installed.
            ValueError: the solver is not the semi-implicit one, or the outputs are not the first neurons.
        """
        return convert_to_ncps(self)

    def _run(
        self, x: Tensor, state: Tensor, timespans: Tensor | None = None, *, episodes: Episodes | None = None
    ) -> tuple[Tensor, Tensor]:
        conductance, current = self._compute_outside(x)
        if self.solver == "semi_implicit":
            over_time, state = evolve(
                state,
                conductance,
                current,
                self.log_capacitance.exp(),
                self.synapses.edges,
                self.synapses.synapse_parameters,
                sub_steps=self.sub_steps,
                timespans=timespans,
                episodes=episodes,
            )
        else:
            over_time, state = self._integrate(state, conductance, current, timespans, episodes=episodes)
        return self._read(over_time), state

    def _advance(self, x_t: Tensor, state: Tensor, timespans: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, state = self._run(x_t[:, None], state, None if timespans is None else timespans[:, None])
        return y[:, 0], state

    def _integrate(
        self,
        v: Tensor,
        conductance: Tensor,
        current: Tensor,
        timespans: Tensor | None,
        episodes: Episodes | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Integrate the differential equation; return the states over time and the last one."""
        solver = SOLVERS[self.solver]
        spans = v.new_ones(1, 1).expand(*conductance.shape[:2]) if timespans is None else timespans.to(v.dtype)

        def advance(state: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
            (v,), (pulling, driving, span, *reset) = state, inputs
            if episodes:
                v = begin_anew(reset[0], episodes.reset_state[0], v)
            change = partial(self._compute_change, pulling, driving)
            for _ in range(self.sub_steps):
                v = solver(change, v, span[:, None] / self.sub_steps)
            return (v,), (v,)

        resets = [episodes.reset] if episodes else []
        (states,), (last,) = loop_over_time(advance, [v], [conductance, current, spans, *resets])
        return states, select_last(states, last, v, episodes and episodes.lengths)

    def _compute_outside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the conductance and the current of inputs and leak."""
        leak = self.log_leak.exp()
        conductance, current = self.sensory(_apply_mapping(x, self.input_weight, self.input_bias))
        return conductance + leak, current + leak * self.leak_potential

    def _compute_change(self, pulling: Tensor, driving: Tensor, v: Tensor) -> Tensor:
        """Compute dv/dt, given the results of :meth:`_compute_outside`."""
        conductance, current = self.synapses(v)
        return (current + driving - (conductance + pulling) * v) / self.log_capacitance.exp()

    def _read(self, v: Tensor) -> Tensor:
        read = v if self.output_size == self.hidden_size else v.index_select(-1, self.outputs)
        return _apply_mapping(read, self.output_weight, self.output_bias)


def _apply_mapping(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return x if weight is None or bias is None else x * weight + bias


def _explicit_euler(change: Change, v: Tensor, delta: Tensor) -> Tensor:
    return v + delta * change(v)


def _rk4(change: Change, v: Tensor, delta: Tensor) -> Tensor:
    k1 = change(v)
    k2 = change(v + delta / 2 * k1)
    k3 = change(v + delta / 2 * k2)
    k4 = change(v + delta * k3)
    return v + delta / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


SOLVERS: dict[str, Callable[[Change, Tensor, Tensor], Tensor]] = {
    "explicit_euler": _explicit_euler,
    "rk4": _rk4,
}
"""Functions from (dv/dt, v, Δ) to v one sub-step later; :func:`remanence.ops.ltc.evolve` is the semi-implicit rule."""
