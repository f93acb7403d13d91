"""The backends of steps on tensors: modules with the four functions of :class:`TensorBackend`."""

from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

from remanence.ops.dispatch import load_backend
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.tensors.tensor_trace import TracedTensorStep

MODULES = {"cpu": "remanence.ops.scan.tensors.cpu", "gpu": "remanence.ops.scan.tensors.gpu"}


@runtime_checkable
class TensorBackend(Protocol):
    """Runs a traced step on tensors over time, forwards and backwards.

    Tensors may have any strides. ``free`` are the tensors that all samples share, of the dtype of the trace.
    """

    def refuses(self, traced: TracedTensorStep, like: Tensor) -> str | None:
        """Return why this backend cannot run this step on tensors like this one, or None."""
        ...

    def forward(
        self, traced: TracedTensorStep, inputs: Tensors, state: Tensors, free: Sequence[Tensor], *, save: bool
    ) -> tuple[Tensors, Tensors]:
        """Compute the states after every step, contiguous, and, if asked to ``save``, what :meth:`backward` needs."""
        ...

    def backward(
        self,
        traced: TracedTensorStep,
        inputs: Tensors,
        state: Tensors,
        free: Sequence[Tensor],
        states: Tensors,
        saved: Tensors,
        grad_states: Sequence[Tensor | None],
        grad_final: Sequence[Tensor | None],
    ) -> tuple[Tensors, Tensors, list[Tensor]]:
        """Compute the gradients of states and inputs, and the totals of the backward pass.

        Args:
            traced: the step.
            inputs: the inputs that :meth:`forward` took.
            state: the state that :meth:`forward` took.
            free: tensors of the backward pass that all samples share.
            states: the states after every step.
            saved: the tensors that :meth:`forward` saved.
            grad_states: gradients of the loss with respect to ``states``; None if the loss does not depend on a state.
            grad_final: gradients of the loss with respect to the state after the last step; None where there is none.
        """
        ...

    def source(self, traced: TracedTensorStep) -> str:
        """Return the generated code of both directions, for people to read."""
        ...


def load(name: str) -> TensorBackend:
    """Return the backend with this name; its module is imported at first use."""
    return cast(TensorBackend, load_backend(MODULES[name]))
