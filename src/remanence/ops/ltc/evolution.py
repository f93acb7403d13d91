"""What is given where neurons are followed over time."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from remanence.ops.ltc.edges import Edges, Strengths


class Evolution(NamedTuple):
    """The arguments of :func:`remanence.ops.ltc.evolve`, checked and of one dtype.

    Attributes:
        v: the state before the first step.
        conductance: P.
        current: Q.
        delta: Δ, how long a sub-step lasts; [1, 1] if all last equally long.
        capacitance: C.
        strengths: w, γ, μ and E.
        edges: who is connected to whom.
        sub_steps: K.
    """

    v: Float[Tensor, "batch neurons"]
    conductance: Float[Tensor, "batch time neurons"]
    current: Float[Tensor, "batch time neurons"]
    delta: Float[Tensor, "batch_or_1 time_or_1"]
    capacitance: Float[Tensor, " neurons"]
    strengths: Strengths
    edges: Edges
    sub_steps: int

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that may require a gradient."""
        return *self[:5], *self.strengths

    @classmethod
    def of(cls, tensors: Sequence[Tensor], edges: Edges, sub_steps: int) -> "Evolution":
        """The other way round."""
        v, conductance, current, delta, capacitance, *strengths = tensors
        return cls(v, conductance, current, delta, capacitance, Strengths(*strengths), edges, sub_steps)


class Gradients(NamedTuple):
    """Of the tensors of an :class:`Evolution`.

    Attributes:
        moved: -Δ times the gradient of Δ: the kernels know how far a sub-step went, not how fast.
    """

    v: Tensor
    conductance: Tensor
    current: Tensor
    moved: Tensor
    capacitance: Tensor
    strengths: Strengths


class Kept(NamedTuple):
    """What the way back needs: the states before every sub-step and after the last, and C + Δ · conductance in each."""

    states: Tensor
    denominators: Tensor
