"""Which loop fires the neurons."""

from jaxtyping import Float
from torch import Tensor

from remanence.nn.fastlane import reference
from remanence.nn.fastlane.schedule import Schedule


def fire(
    schedule: Schedule,
    drive: Float[Tensor, "neurons time batch"],
    state: Float[Tensor, "neurons batch"],
    weight: Tensor,
) -> Float[Tensor, "neurons time batch"]:
    """Values after each time step."""
    return reference.fire(schedule, schedule.levels, drive, state, schedule.matrix(weight))
