"""The arguments, the gradients and the residuals of :func:`remanence.ops.ltc.evolve`."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from remanence.ops.ltc.edges import Edges, SynapseParameters


class Evolution(NamedTuple):
    """The arguments of :func:`remanence.ops.ltc.evolve`, checked and of one dtype.

    Attributes:
        v: potentials before the first step, [batch, neurons].
        conductance: P, [batch, time, neurons].
        current: Q, [batch, time, neurons].
        delta: Δ, the duration of a sub-step, [batch, time], or [1, 1] if it is the same for all.
        capacitance: C, [neurons].
        parameters: w, γ, μ and E, [edges] each.
        edges: which neurons are connected.
        sub_steps: number of sub-steps in each time step.
        reset: 1 where a sample is reset before a time step, else 0; None (default) if none is.
        first: potentials that a reset restores, [batch, neurons]; None (default) without ``reset``.
    """

    v: Float[Tensor, "batch neurons"]
    conductance: Float[Tensor, "batch time neurons"]
    current: Float[Tensor, "batch time neurons"]
    delta: Float[Tensor, "batch_or_1 time_or_1"]
    capacitance: Float[Tensor, " neurons"]
    parameters: SynapseParameters
    edges: Edges
    sub_steps: int
    reset: Float[Tensor, "batch time"] | None = None
    first: Float[Tensor, "batch neurons"] | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors: those that may require a gradient, and the reset if there is one."""
        tensors = *self[:5], *self.parameters
        return tensors if self.reset is None or self.first is None else (*tensors, self.reset, self.first)

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor], edges: Edges, sub_steps: int) -> "Evolution":
        """Build the arguments from :attr:`tensors`."""
        v, conductance, current, delta, capacitance, *rest = tensors
        count = len(SynapseParameters._fields)
        parameters, episodes = SynapseParameters(*rest[:count]), rest[count:]
        return cls(v, conductance, current, delta, capacitance, parameters, edges, sub_steps, *episodes)


class Gradients(NamedTuple):
    """Gradients of the tensors of an :class:`Evolution`.

    Attributes:
        moved: -Δ times the gradient of Δ, because the kernels compute the change of v in a sub-step, not its rate.
    """

    v: Tensor
    conductance: Tensor
    current: Tensor
    moved: Tensor
    capacitance: Tensor
    parameters: SynapseParameters
    first: Tensor | None = None


class Residuals(NamedTuple):
    """The values that the backward pass needs.

    Attributes:
        states: the states before every sub-step and after the last.
        denominators: C + Δ · conductance in every sub-step.
    """

    states: Tensor
    denominators: Tensor
