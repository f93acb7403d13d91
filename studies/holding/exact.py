"""How long a neuron to which nothing arrives keeps its value."""

from dataclasses import dataclass

import torch

from remanence.nn import Fastlane, PersistentLinear
from remanence.nn.persistent import NonlinearityName

STEPS = 100_000
HELD = 0.7311  # no sum of powers of two: a rounding would show


@dataclass(frozen=True, eq=False)
class Held:
    """The value of a neuron over time.

    Attributes:
        layer: ``persistent`` or ``fastlane``.
        nonlinearity: f.
        values: after each step, [steps].
    """

    layer: str
    nonlinearity: str
    values: torch.Tensor

    @property
    def change(self) -> float:
        """The largest distance from the value that was to be held."""
        return float((self.values - torch.tensor(HELD)).abs().max())


@torch.no_grad()
def run_silent(nonlinearity: NonlinearityName, layer: str = "persistent", steps: int = STEPS) -> Held:
    """Set a neuron to a value and let nothing arrive, no input and no bias.

    In a :class:`Fastlane` the neuron is heard by others and hears none, so that its net input is 0 as well.

    Args:
        nonlinearity: f.
        layer: ``"persistent"`` or ``"fastlane"``.
        steps: how long.
    """
    if layer == "persistent":
        memory = PersistentLinear(1, 1, nonlinearity=nonlinearity)
    else:
        memory = Fastlane(1, 2, wiring=[[0, 0], [1, 0]], nonlinearity=nonlinearity)
    for parameter in (memory.weight_ih, memory.bias):
        parameter.zero_()
    state = torch.zeros(1, memory.hidden_size)
    state[0, 0] = HELD
    y, _ = memory(torch.zeros(1, steps, 1), state)
    return Held(layer, nonlinearity, y[0, :, 0])
