"""The arguments, the gradients and the residuals of :func:`remanence.ops.ltc.evolve`."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from remanence.ops.ltc.edges import Edges, SynapseParameters


class Evolution(NamedTuple):
    """The arguments of :func:`remanence.ops.ltc.evolve`, checked and of one dtype.

    Attributes:
        v: the state before the first step.
        conductance: P.
        current: Q.
        delta: Δ, the duration of a sub-step; [1, 1] if it is the same for all.
        capacitance: C.
        parameters: w, γ, μ and E.
        edges: who is connected to whom.
        sub_steps: K.
    """

    v: Float[Tensor, "batch neurons"]
    conductance: Float[Tensor, "batch time neurons"]
    current: Float[Tensor, "batch time neurons"]
    delta: Float[Tensor, "batch_or_1 time_or_1"]
    capacitance: Float[Tensor, " neurons"]
    parameters: SynapseParameters
    edges: Edges
    sub_steps: int

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that may require a gradient."""
        return *self[:5], *self.parameters

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor], edges: Edges, sub_steps: int) -> "Evolution":
        """Build the arguments from :attr:`tensors`."""
        v, conductance, current, delta, capacitance, *parameters = tensors
        return cls(v, conductance, current, delta, capacitance, SynapseParameters(*parameters), edges, sub_steps)


class Gradients(NamedTuple):
    """Gradients of the tensors of an :class:`Evolution`.

    Attributes:
        moved: -Δ times the gradient of Δ: the kernels know how far v moved in a sub-step, not how fast.
    """

    v: Tensor
    conductance: Tensor
    current: Tensor
    moved: Tensor
    capacitance: Tensor
    parameters: SynapseParameters


class Residuals(NamedTuple):
    """What the backward pass needs.

    Attributes:
        states: the states before every sub-step and after the last.
        denominators: C + Δ · conductance in every sub-step.
    """

    states: Tensor
    denominators: Tensor
