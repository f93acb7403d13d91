"""One time step of isolated flip-flops, pointwise over pairs."""

from typing import NamedTuple, no_type_check

import torch
from torch import Tensor


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
    gate_q, gate_r, *timespan = inputs
    of_q, of_r = Neuron(*params[: len(params) // 2]), Neuron(*params[len(params) // 2 :])
    open_q, open_r = torch.sigmoid(gate_q), torch.sigmoid(gate_r)
    rates, currents = (of_q.gate * open_q, of_r.gate * open_r), (of_q.gate_current * open_q, of_r.gate_current * open_r)
    return driven_step(sub_steps, state, (*rates, *currents, *timespan), params)


@no_type_check
def driven_step(
    sub_steps: int, state: tuple[Tensor, ...], inputs: tuple[Tensor, ...], params: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """The same, where the inputs are the rates of q and of r that come from outside, their currents, and the timespan.

    Args:
        sub_steps: K.
        state: (q, r).
        inputs: 4, or 5 with the timespan.
        params: as in :func:`flip_flop_step`.
    """
    rate_q, rate_r, current_q, current_r, *timespan = inputs
    of_q, of_r = Neuron(*params[: len(params) // 2]), Neuron(*params[len(params) // 2 :])
    inertia: Tensor | float = sub_steps / timespan[0] if timespan else float(sub_steps)  # 1/Δ
    q, r = state
    for _ in range(sub_steps):
        q, r = (
            _sub_step(of_q, inertia, rate_q, current_q, q, r),
            _sub_step(of_r, inertia, rate_r, current_r, r, q),
        )
    return q, r


@no_type_check
def _sub_step(neuron: Neuron, inertia: Tensor | float, rate: Tensor, current: Tensor, v: Tensor, u: Tensor) -> Tensor:
    inhibited = torch.sigmoid(neuron.mutual_slope * u + neuron.mutual_offset)
    recurrent = torch.sigmoid(neuron.onto_itself_slope * v + neuron.onto_itself_offset)
    pulled = neuron.leak_current + current + neuron.mutual_current * inhibited + neuron.onto_itself_current * recurrent
    conductance = neuron.leak + rate + neuron.mutual * inhibited + neuron.onto_itself * recurrent
    return (inertia * v + pulled) / (inertia + conductance)
