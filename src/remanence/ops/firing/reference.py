"""The plain loop: slow and obvious; the kernels are tested against it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.ops.firing.firing_schedule import Schedule
from remanence.ops.scan.layout import Tensors
from remanence.ops.time_loop import loop_over_time


def fire(
    schedule: Schedule,
    groups: Sequence[Sequence[int]],
    drive: Float[Tensor, "neurons time batch"],
    state: Float[Tensor, "neurons batch"],
    matrix: Float[Tensor, "neurons neurons"],
    reset: Float[Tensor, "time batch"] | None = None,
    first: Float[Tensor, "neurons batch"] | None = None,
) -> Float[Tensor, "neurons time batch"]:
    """Compute the values after each time step.

    Args:
        schedule: the nonlinearity and the number of firings.
        groups: groups of neurons that fire together. By definition every neuron fires alone, in firing order.
        drive: sum of inputs and bias, which is added in each firing, [neurons, time, batch].
        state: values before the first step, [neurons, batch].
        matrix: weights [receivers, senders].
        reset: 1 where a sample is reset before a time step, else 0; None (default) if none is.
        first: values that a reset restores, [neurons, batch]; None (default) without ``reset``.
    """
    places = [torch.tensor(group, device=drive.device) for group in groups]
    rows = [matrix[place] for place in places]

    def advance(state: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
        (n,), (drive_t, *begins) = state, inputs
        if begins and first is not None:
            n = torch.where(begins[0] != 0, first, n)
        for _ in range(schedule.ticks):
            for place, row in zip(places, rows, strict=True):
                fired = schedule.function(schedule.keep * n[place] + row @ n + drive_t[place])
                n = n.index_copy(0, place, fired)
        return (n,), (n,)

    (values,), _ = loop_over_time(advance, [state], [drive] if reset is None else [drive, reset.T])
    return values
