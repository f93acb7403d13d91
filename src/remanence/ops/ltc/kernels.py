"""The kernels for synapses as :func:`remanence.ops.dispatch.record` runs them.

A layout is a module with the four functions of :mod:`remanence.ops.ltc.dense`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from torch import Tensor

from remanence.ops.ltc import reference
from remanence.ops.ltc.edges import Edges, Strengths
from remanence.ops.ltc.evolution import Evolution, Kept


@dataclass(frozen=True)
class Arriving:
    """:func:`remanence.ops.ltc.reference.arriving`, of x [samples, senders] and the strengths."""

    layout: ModuleType
    edges: Edges

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Both sums."""
        x, *strengths = tensors
        return tuple(self.layout.arriving(x, self.edges, Strengths(*strengths))), ()

    def backward(
        self,
        tensors: Sequence[Tensor],
        kept: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> list[Tensor]:
        """Gradients of x and the strengths."""
        x, *strengths = tensors
        rows = x.new_zeros(()).expand(len(x), self.edges.receivers)
        above = tuple(rows if grad is None else grad for grad in grads)
        of_x, of_synapses = self.layout.arriving_backward(x, self.edges, Strengths(*strengths), above)
        return [of_x, *of_synapses]

    def reference(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """The plain formula."""
        x, *strengths = tensors
        return reference.arriving(x, self.edges, Strengths(*strengths))


@dataclass(frozen=True)
class Evolving:
    """:func:`remanence.ops.ltc.reference.evolve`, of the tensors of an :class:`Evolution`."""

    layout: ModuleType
    edges: Edges
    sub_steps: int

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """States over time, and the last."""
        states, kept = self.layout.evolve(self._given(tensors), keep=needs is not None)
        return (states, states[:, -1].clone()), tuple(kept) if needs is not None else ()

    def backward(
        self,
        tensors: Sequence[Tensor],
        kept: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients of all that was given."""
        given = self._given(tensors)
        zero = given.v.new_zeros(())
        shapes = given.conductance.shape, given.v.shape
        above = tuple(zero.expand(shape) if grad is None else grad for grad, shape in zip(grads, shapes, strict=True))
        found = self.layout.evolve_backward(given, Kept(*kept), above)
        of_delta = (-found.moved / given.delta).sum_to_size(given.delta.shape) if needs[3] else None
        return [*found[:3], of_delta, found.capacitance, *found.strengths]

    def reference(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """The plain loop."""
        return reference.evolve(self._given(tensors))

    def _given(self, tensors: Sequence[Tensor]) -> Evolution:
        return Evolution.of(tensors, self.edges, self.sub_steps)
