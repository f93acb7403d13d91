"""One time step of isolated flip-flops, pointwise over pairs."""

from collections import namedtuple
from typing import NamedTuple, no_type_check

import torch
from torch import Tensor


class Parameter(NamedTuple):
    """A parameter [2, hidden_size] of the pairs, q before r.

    Attributes:
        inhibitory: the range of its initial values.
        shunting: the same for pairs with shunting mutual synapses: without a negative potential, the low state must be
            well below μ.
        of_input: whether it belongs to the synapse from the input.
    """

    inhibitory: tuple[float, float]
    shunting: tuple[float, float]
    of_input: bool = False


PARAMETERS = {
    "log_capacitance": Parameter((0.0, 0.0), (0.0, 0.0)),  # log C; CFF.reset_parameters spreads it by the horizon
    "log_leak": Parameter((-0.05, 0.05), (-0.05, 0.05)),  # log g
    "leak_potential": Parameter((0.95, 1.05), (0.95, 1.05)),  # V: a tonic drive upwards, which the other one inhibits
    "log_conductance_input": Parameter((-0.05, 0.05), (0.65, 0.75), of_input=True),  # log w_x
    "log_slope_input": Parameter((0.0, 0.0), (0.0, 0.0), of_input=True),  # log γ_x; CFF.reset_parameters sets it
    "potential_input": Parameter((0.9, 1.1), (0.9, 1.1), of_input=True),  # E_x
    "log_conductance_mutual": Parameter((0.65, 0.75), (1.35, 1.45)),  # log w_m: twice the tonic drive, ten times w_s
    "log_slope_mutual": Parameter((2.0, 2.1), (2.7, 2.8)),  # log γ_m
    "threshold_mutual": Parameter((0.05, 0.15), (0.4, 0.45)),  # μ_m
    "log_conductance_self": Parameter((-1.65, -1.55), (-1.65, -1.55)),  # log w_s
    "log_slope_self": Parameter((2.0, 2.1), (2.7, 2.8)),  # log γ_s
    "threshold_self": Parameter((0.05, 0.15), (0.4, 0.45)),  # μ_s
}
"""The parameters by name, in the order of a layer's ``parameters()``."""

Gate = namedtuple("Gate", ["bias", *(name for name, parameter in PARAMETERS.items() if parameter.of_input)])
"""Parameters of the input synapse of one neuron of every pair, each [hidden_size]."""

Dynamics = namedtuple("Dynamics", [name for name, parameter in PARAMETERS.items() if not parameter.of_input])
"""The other parameters of one neuron of every pair, each [hidden_size]."""


class Neuron(NamedTuple):
    """One neuron of every pair: rates (conductance / C) and currents (rate · potential), each [hidden_size]."""

    leak: Tensor
    leak_current: Tensor
    mutual: Tensor
    mutual_current: Tensor
    mutual_slope: Tensor
    mutual_offset: Tensor
    onto_itself: Tensor
    onto_itself_current: Tensor
    onto_itself_slope: Tensor
    onto_itself_offset: Tensor


@no_type_check  # a type-checking wrapper would make scan trace the step again in every call
def flip_flop_step(
    sub_steps: int,
    polarities: tuple[float, float],
    state: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    params: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor]:
    """Compute one time step of isolated flip-flops, in the form of :func:`remanence.scan`.

    Args:
        sub_steps: number of sub-steps K in a time step.
        polarities: signs of the potentials of the mutual synapses and of the self-synapses.
        state: (q, r).
        inputs: W x of q and of r, then optionally the timespan (default: 1).
        params: the fields of :class:`Gate`, each for q and for r, then those of :class:`Dynamics`, then the logarithms
            of the potentials that are not 0.
    """
    drive_q, drive_r, *timespan = inputs
    count = 2 * len(Gate._fields)
    rate_q, current_q = _open_gate(Gate(*params[0:count:2]), drive_q)
    rate_r, current_r = _open_gate(Gate(*params[1:count:2]), drive_r)
    outside = rate_q, rate_r, current_q, current_r
    return driven_step(sub_steps, polarities, state, (*outside, *timespan), params[count:])


@no_type_check
def driven_step(
    sub_steps: int,
    polarities: tuple[float, float],
    state: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    params: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor]:
    """Compute one time step of isolated flip-flops from the rates and currents of the input.

    Args:
        sub_steps: number of sub-steps K in a time step.
        polarities: as in :func:`flip_flop_step`.
        state: (q, r).
        inputs: the input's rates for q and for r, its currents for q and for r, then optionally the timespan.
        params: the fields of :class:`Dynamics` and potentials, as in :func:`flip_flop_step`.
    """
    rate_q, rate_r, current_q, current_r, *timespan = inputs
    of_q, of_r = build_neurons(polarities, params)
    delta: Tensor | float = timespan[0] / sub_steps if timespan else 1 / sub_steps
    q, r = state
    for _ in range(sub_steps):
        q, r = (
            _sub_step(of_q, delta, rate_q, current_q, q, r),
            _sub_step(of_r, delta, rate_r, current_r, r, q),
        )
    return q, r


@no_type_check
def build_neurons(polarities: tuple[float, float], params: tuple[Tensor, ...]) -> tuple[Neuron, Neuron]:
    """Build q and r from parameters as :func:`driven_step` takes them."""
    return _build_neuron(polarities, params[0::2]), _build_neuron(polarities, params[1::2])


@no_type_check
def _build_neuron(polarities: tuple[float, float], params: tuple[Tensor, ...]) -> Neuron:
    count = len(Dynamics._fields)
    p, potentials = Dynamics(*params[:count]), iter(params[count:])
    potential_mutual, potential_self = (sign * torch.exp(next(potentials)) if sign else 0.0 for sign in polarities)
    capacitance = torch.exp(p.log_capacitance)
    leak, mutual, onto_itself = (
        torch.exp(log) / capacitance for log in (p.log_leak, p.log_conductance_mutual, p.log_conductance_self)
    )
    slope_mutual, slope_self = torch.exp(p.log_slope_mutual), torch.exp(p.log_slope_self)
    return Neuron(
        leak=leak,
        leak_current=leak * p.leak_potential,
        mutual=mutual,
        mutual_current=mutual * potential_mutual,
        mutual_slope=slope_mutual,
        mutual_offset=-slope_mutual * p.threshold_mutual,
        onto_itself=onto_itself,
        onto_itself_current=onto_itself * potential_self,
        onto_itself_slope=slope_self,
        onto_itself_offset=-slope_self * p.threshold_self,
    )


@no_type_check
def _open_gate(gate: Gate, drive: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the rate and the current of the input gate."""
    opened = torch.sigmoid(torch.exp(gate.log_slope_input) * drive + gate.bias)
    rate = torch.exp(gate.log_conductance_input) * opened
    return rate, rate * gate.potential_input


@no_type_check
def _sub_step(neuron: Neuron, delta: Tensor | float, rate: Tensor, current: Tensor, v: Tensor, u: Tensor) -> Tensor:
    inhibited = torch.sigmoid(neuron.mutual_slope * u + neuron.mutual_offset)
    recurrent = torch.sigmoid(neuron.onto_itself_slope * v + neuron.onto_itself_offset)
    pulled = neuron.leak_current + current + neuron.mutual_current * inhibited + neuron.onto_itself_current * recurrent
    conductance = neuron.leak + rate + neuron.mutual * inhibited + neuron.onto_itself * recurrent
    return v + delta * ((pulled - conductance * v) / (1 + delta * conductance))  # exactly v if Δ = 0
