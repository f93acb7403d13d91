"""A recurrent module as a function on flat state vectors, h_{t+1} = F(x_{t+1}, h_t)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence._torch import pytree
from remanence.errors import UserError
from remanence.nn.memory import State

COPIED = 2**24  # maximum number of elements of the copies of the state from which a Jacobian is computed


@dataclass(frozen=True, eq=False)
class Step:
    """One time step of a recurrent system as a function on flat states; :func:`as_step` creates it.

    The rows of a batch must be independent of each other (no batch norm in training).

    Attributes:
        function: a function ``function(x_t, state) -> (y_t, state)``, with the state nested as the module nests it.
        initial: the initial state, nested, for a batch of one.
        input_size: number of input channels; 0 for a system without input.
    """

    function: Callable[[Tensor, State], tuple[Tensor, State]]
    initial: State
    input_size: int

    def __call__(
        self, x_t: Float[Tensor, "batch input"], h: Float[Tensor, "batch size"]
    ) -> Float[Tensor, "batch size"]:
        """Take one step.

        Args:
            x_t: the input of this step, [batch, input].
            h: the flat state before it, [batch, size].

        Returns:
            The flat state after it.
        """
        return self.advance(x_t, h)[1]

    def advance(
        self, x_t: Float[Tensor, "batch input"], h: Float[Tensor, "batch size"]
    ) -> tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch size"]]:
        """Take one step and return its output, too.

        Args:
            x_t: the input of this step, [batch, input].
            h: the flat state before it, [batch, size].

        Returns:
            The output of this step, and the flat state after it.
        """
        y_t, state = self.function(x_t, self.unflatten(h))
        return y_t, self.flatten(state)

    @property
    def size(self) -> int:
        """The number of components of a flat state."""
        return sum(leaf[0].numel() for leaf in pytree.tree_leaves(self.initial))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the state."""
        return pytree.tree_leaves(self.initial)[0].dtype

    def initial_state(self, batch_size: int = 1) -> Float[Tensor, "batch size"]:
        """Return the initial state, flat.

        Args:
            batch_size: number of identical rows; default: 1.

        Returns:
            The flat state, [batch_size, size].
        """
        return self.flatten(self.initial).repeat(batch_size, 1)

    def flatten(self, state: State) -> Float[Tensor, "batch size"]:
        """Concatenate the tensors of a state to one vector per row.

        Args:
            state: a state, nested as the module nests it.

        Returns:
            The flat state, [batch, size].
        """
        return torch.cat([leaf.flatten(1) for leaf in pytree.tree_leaves(state)], 1)

    def unflatten(self, h: Float[Tensor, "batch size"]) -> State:
        """Convert a flat state to a state that is nested as the module nests it.

        Args:
            h: the flat state, [batch, size].

        Returns:
            The nested state.
        """
        leaves, nesting = pytree.tree_flatten(self.initial)
        parts = h.split([leaf[0].numel() for leaf in leaves], 1)
        shaped = [part.reshape(-1, *leaf.shape[1:]) for part, leaf in zip(parts, leaves, strict=True)]
        return pytree.tree_unflatten(shaped, nesting)

    def silence(self, batch_size: int = 1, steps: int | None = None) -> Tensor:
        """Return an input of zeros.

        Args:
            batch_size: number of rows; default: 1.
            steps: number of time steps; default: no time dimension.

        Returns:
            Zeros, [batch_size, input] or [batch_size, steps, input].
        """
        leaf = pytree.tree_leaves(self.initial)[0]
        time = () if steps is None else (steps,)
        return leaf.new_zeros(batch_size, *time, self.input_size)

    @torch.no_grad()
    def run(
        self, x: Float[Tensor, "batch time input"], h: Float[Tensor, "batch size"] | None = None
    ) -> tuple[Float[Tensor, "batch time ..."], Float[Tensor, "batch later size"]]:
        """Run over a sequence.

        Args:
            x: the input, [batch, time, input].
            h: the flat state before the first step, [batch, size]; default: the initial state.

        Returns:
            The outputs, [batch, time, ...], and the states before and after all steps, [batch, time + 1, size].

        Raises:
            ValueError: x has a wrong shape or dtype, or no time step.
        """
        states, outputs = [self.start(x, h)], []
        for x_t in x.unbind(1):
            y_t, after = self.advance(x_t, states[-1])
            states.append(after)
            outputs.append(y_t)
        return torch.stack(outputs, 1), torch.stack(states, 1)

    def start(self, x: Tensor, h: Float[Tensor, "batch size"] | None) -> Float[Tensor, "batch size"]:
        """Check an input, and return the flat state before its first step.

        Args:
            x: the input, [batch, time, input].
            h: the flat state, [batch, size]; default: the initial state.

        Returns:
            ``h``, or the initial state.

        Raises:
            ValueError: x has a wrong shape or dtype, or no time step.
        """
        if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] != self.input_size or x.dtype != self.dtype:
            raise UserError(
                f"expected x [batch, time, {self.input_size}] of {self.dtype} with at least one step, "
                f"got {list(x.shape)} of {x.dtype}"
            )
        return self.initial_state(len(x)) if h is None else h

    def read_by(self, readout: Callable[[Tensor], Tensor]) -> "Step":
        """Return the same step with a readout applied to its output.

        Args:
            readout: a function from y_t [batch, ...] to outputs [batch, outputs], such as the head of a model.

        Returns:
            The step with this readout.
        """

        def function(x_t: Tensor, state: State) -> tuple[Tensor, State]:
            y_t, after = self.function(x_t, state)
            return readout(y_t), after

        return replace(self, function=function)

    def jacobian(
        self, x_t: Float[Tensor, "batch input"], h: Float[Tensor, "batch size"]
    ) -> Float[Tensor, "batch size size"]:
        """Compute the Jacobian ∂F_i/∂h_j [i, j] at every row.

        Each row is copied once for every i, and all copies are differentiated in one backward pass.

        Args:
            x_t: the input, [batch, input].
            h: the flat state, [batch, size].

        Returns:
            The Jacobians, [batch, size, size].
        """
        parts = [_differentiate(self, self.size, *part)[0] for part in self._parts(x_t, h, self.size)]
        return torch.cat(parts)

    def linearise(self, x_t: Float[Tensor, "batch input"], h: Float[Tensor, "batch size"]) -> "Linearisation":
        """Linearise the step with respect to input and state, at every row.

        Args:
            x_t: the input, [batch, input].
            h: the flat state, [batch, size].

        Returns:
            The matrices of the linearisation.
        """

        def both(x_t: Tensor, h: Tensor) -> Tensor:
            y_t, after = self.advance(x_t, h)
            return torch.cat([after, y_t.flatten(1)], 1)

        count = both(x_t[:1], h[:1]).shape[1]
        parts = [_differentiate(both, count, *part, of_input=True) for part in self._parts(x_t, h, count)]
        of_state, of_input = (torch.cat(each) for each in zip(*parts, strict=True))
        (A, C), (B, D) = (each.split([self.size, count - self.size], 1) for each in (of_state, of_input))
        return Linearisation(A, B, C, D)

    def _parts(self, x_t: Tensor, h: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        rows = max(COPIED // max(self.size * count, 1), 1)
        return zip(x_t.split(rows), h.split(rows), strict=True)


@dataclass(frozen=True, eq=False)
class Linearisation:
    """Linearisation of a step near a state and an input, at every row: ``δh' = A δh + B δx``, ``δy = C δh + D δx``.

    As in control engineering, y is the output of the step that starts from h: if the output is the new state, C is A.

    Attributes:
        A: ∂F/∂h, [batch, size, size].
        B: ∂F/∂x, [batch, size, input].
        C: ∂y/∂h, [batch, output, size], with y flattened.
        D: ∂y/∂x, [batch, output, input].
    """

    A: Float[Tensor, "batch size size"]
    B: Float[Tensor, "batch size input"]
    C: Float[Tensor, "batch output size"]
    D: Float[Tensor, "batch output input"]


def _differentiate(
    function: Callable[[Tensor, Tensor], Tensor], count: int, x_t: Tensor, h: Tensor, *, of_input: bool = False
) -> tuple[Tensor, ...]:
    """Differentiate ``count`` results with respect to the state, and optionally the input, [batch, count, ...]."""
    x_t, h = (each.detach().repeat_interleave(count, 0) for each in (x_t, h))
    by = [each.requires_grad_() for each in ((h, x_t) if of_input else (h,))]
    each = torch.eye(count, dtype=h.dtype, device=h.device).repeat(len(h) // count, 1)
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN computes no gradients in eval mode
        rows = torch.autograd.grad(function(x_t, h), by, each, materialize_grads=True)
    return tuple(row.unflatten(0, (-1, count)) for row in rows)


def get_leaves(state: Any) -> list[Tensor]:
    """Return the tensors of a state.

    Raises:
        ValueError: the state contains anything but floating-point tensors with a batch dimension, or nothing.
    """
    leaves = pytree.tree_leaves(state)
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or leaf.ndim == 0:
            what = f"{list(leaf.shape)} of {leaf.dtype}" if isinstance(leaf, Tensor) else type(leaf).__name__
            raise UserError(f"expected a state of floating-point tensors, the batch first, got {what}")
    if not leaves:
        raise UserError("expected a state of at least one tensor, got none")
    return leaves
