"""When a task asks for nothing but holding, and what is to be held then."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from remanence.errors import UserError
from remanence.tasks import Batch, FlipFlop, Recall, Task


@dataclass(frozen=True, eq=False)
class Phases:
    """The two kinds of steps of a batch.

    Attributes:
        hold: steps at which nothing comes that is to be remembered, [batch, time].
        write: steps at which something does, [batch, time].
        remembered: what is to be remembered after each step, [batch, time, variables].
    """

    hold: Bool[Tensor, "batch time"]
    write: Bool[Tensor, "batch time"]
    remembered: Float[Tensor, "batch time variables"]


def find_phases(task: Task, batch: Batch) -> Phases:
    """Find the phases of a batch.

    In :class:`Recall` a symbol is written while it is shown, and held from then on. In :class:`FlipFlop` a step with
    a pulse in any channel writes; steps before the first pulse of all channels are neither.

    Raises:
        ValueError: a task of which this is not known.
    """
    if isinstance(task, Recall):
        hold = torch.arange(batch.inputs.shape[1]).expand(len(batch.inputs), -1) >= task.shown
        symbols = F.one_hot(batch.targets, task.target_size).float()
        return Phases(hold, ~hold, symbols[:, None].expand(-1, batch.inputs.shape[1], -1))
    if isinstance(task, FlipFlop):
        pulsed = batch.inputs.ne(0).any(-1)
        known = batch.targets.ne(0).all(-1)
        return Phases(known & ~pulsed, pulsed, batch.targets)
    raise UserError(f"{type(task).__name__} has no phases of holding: they are known of Recall and FlipFlop")
