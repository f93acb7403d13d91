"""The backends of a scan: modules with the four functions of :class:`ScanBackend`."""

from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

from remanence.ops.dispatch import load_backend
from remanence.ops.scan.layout import Gradients, Group, Tensors
from remanence.ops.scan.trace import TracedStep

MODULES = {
    "cpu": "remanence.ops.scan.cpu",
    "gpu": "remanence.ops.scan.gpu",
    "newton": "remanence.ops.scan.newton",
    "associative": "remanence.ops.scan.associative",
}


@runtime_checkable
class ScanBackend(Protocol):
    """Runs a traced step over time, forwards and backwards.

    All tensors have been checked: they have the same dtype and device, at least one time step, and any strides. A
    backend records nothing; :class:`remanence.ops.scan.fused_loop.FusedLoop` makes an operation of it that
    :func:`remanence.ops.dispatch.record` puts in the autograd graph.
    """

    def refuses(self, traced: TracedStep, like: Tensor) -> str | None:
        """Return why this backend cannot run this step on tensors like this one, or None."""
        ...

    def forward(self, traced: TracedStep, inputs: Tensors, state: Tensors, params: Group) -> Tensors:
        """Compute the states after every step, [batch, time, channels] each, contiguous."""
        ...

    def backward(
        self,
        traced: TracedStep,
        needs: Sequence[bool],
        primals: tuple[Tensors, Tensors, Group],
        states: Tensors,
        grad_states: Sequence[Tensor | None],
        grad_final: Sequence[Tensor | None],
    ) -> Gradients:
        """Compute the gradients of states, inputs and params.

        Args:
            traced: the step.
            needs: whether the gradient of each state, input and parameter is needed; None is returned for the others.
            primals: the inputs, state and params that :meth:`forward` took.
            states: the result of :meth:`forward`.
            grad_states: gradients of the loss with respect to ``states``; None if the loss does not depend on a state.
            grad_final: gradients of the loss with respect to the state after the last step; None where there is none.
        """
        ...

    def source(self, traced: TracedStep, needs: Sequence[bool]) -> str:
        """Return the generated code of both directions, for people to read."""
        ...


def load(name: str) -> ScanBackend:
    """Return the backend with this name; its module is imported at first use."""
    return cast(ScanBackend, load_backend(MODULES[name]))
