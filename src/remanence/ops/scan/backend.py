"""What a backend is: a module with these four functions."""

import importlib
from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

from remanence.ops.scan.layout import Gradients, Group, Tensors
from remanence.ops.scan.trace import TracedStep

MODULES = {"cpu": "remanence.ops.scan.cpu", "gpu": "remanence.ops.scan.gpu", "newton": "remanence.ops.scan.newton"}


@runtime_checkable
class ScanBackend(Protocol):
    """Runs a traced step over time, forwards and backwards.

    Tensors come checked: one dtype, one device, time of at least 1; of any strides.
    """

    def refuses(self, traced: TracedStep, like: Tensor) -> str | None:
        """Why this backend cannot run this step on tensors like this, or None."""
        ...

    def forward(self, traced: TracedStep, inputs: Tensors, state: Tensors, params: Group) -> Tensors:
        """States after every step, [batch, time, channels] each, contiguous."""
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
        """Gradients of states, inputs and params.

        Args:
            traced: the step.
            needs: for each state, input and parameter whether its gradient is asked for; None comes back where not.
            primals: inputs, state and params as :meth:`forward` got them.
            states: what :meth:`forward` returned.
            grad_states: of the loss with respect to each of ``states``; None: nothing depends on it.
            grad_final: with respect to the state after the last step; None likewise.
        """
        ...

    def source(self, traced: TracedStep, needs: Sequence[bool]) -> str:
        """The generated code, both directions, as a person reads it."""
        ...


def load(name: str) -> ScanBackend:
    """The backend of this name; its module is imported at first use."""
    return cast(ScanBackend, importlib.import_module(MODULES[name]))
