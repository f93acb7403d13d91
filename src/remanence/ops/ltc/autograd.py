"""The kernels for synapses as :func:`remanence.ops.dispatch.record` runs them.

A layout is a module with the four functions of :mod:`remanence.ops.ltc.dense` that compute sums and evolutions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from torch import Tensor

from remanence.ops.ltc import reference
from remanence.ops.ltc.edges import Edges, SynapseParameters
from remanence.ops.ltc.evolution import Evolution, Residuals


@dataclass(frozen=True)
class SynapseSumKernel:
    """:func:`remanence.ops.ltc.reference.sum_synapses`, of x [samples, senders] and the parameters."""

    layout: ModuleType
    edges: Edges

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Compute both sums."""
        x, *parameters = tensors
        return tuple(self.layout.sum_synapses(x, self.edges, SynapseParameters(*parameters))), ()

    def backward(
        self,
        tensors: Sequence[Tensor],
        residuals: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> list[Tensor]:
        """Compute the gradients of x and the parameters."""
        x, *parameters = tensors
        rows = x.new_zeros(()).expand(len(x), self.edges.receivers)
        above = tuple(rows if grad is None else grad for grad in grads)
        of_x, of_synapses = self.layout.sum_synapses_backward(x, self.edges, SynapseParameters(*parameters), above)
        return [of_x, *of_synapses]

    def reference(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the plain formula."""
        x, *parameters = tensors
        return reference.sum_synapses(x, self.edges, SynapseParameters(*parameters))


@dataclass(frozen=True)
class EvolutionKernel:
    """:func:`remanence.ops.ltc.reference.evolve`, of the tensors of an :class:`Evolution`."""

    layout: ModuleType
    edges: Edges
    sub_steps: int

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Compute the states after each time step and after the last one."""
        given = self._unpack(tensors)
        states, residuals = self.layout.evolve(given, save_residuals=needs is not None)
        if needs is None:
            return (states, states[:, -1].clone()), ()
        # A reset writes over the state before it among the residuals, which the backward pass needs too.
        saved = (*residuals, states) if given.reset is not None else residuals
        return (states, states[:, -1].clone()), tuple(saved)

    def backward(
        self,
        tensors: Sequence[Tensor],
        residuals: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> list[Tensor | None]:
        """Compute the gradients of all arguments."""
        given = self._unpack(tensors)
        zero = given.v.new_zeros(())
        shapes = given.conductance.shape, given.v.shape
        above = tuple(zero.expand(shape) if grad is None else grad for grad, shape in zip(grads, shapes, strict=True))
        *rows, states = residuals if given.reset is not None else (*residuals, None)
        found = self.layout.evolve_backward(given, Residuals(*rows), above, states)
        of_delta = (-found.moved / given.delta).sum_to_size(given.delta.shape) if needs[3] else None
        of_episodes = [] if given.reset is None else [None, found.first]
        return [*found[:3], of_delta, found.capacitance, *found.parameters, *of_episodes]

    def reference(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Run the plain loop."""
        return reference.evolve(self._unpack(tensors))

    def _unpack(self, tensors: Sequence[Tensor]) -> Evolution:
        return Evolution.from_tensors(tensors, self.edges, self.sub_steps)
