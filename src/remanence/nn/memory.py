"""The interface of all memories."""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from remanence._kernels.addressing import are_readable
from remanence._torch import pytree
from remanence.checks import positive_integer
from remanence.errors import UserError, describe_value
from remanence.nn import opaque_memory
from remanence.nn.pointwise_form import PointwiseForm
from remanence.nn.structure import Device, Structured
from remanence.ops import autocast, opaque_call
from remanence.ops.episodes import Episodes, begin_anew, check_reset, find_real, mask_padding, reset_padding
from remanence.ops.opaque_call import Description
from remanence.ops.time_loop import Tensors, loop_over_time

State: TypeAlias = Any
"""A tensor or a tuple of tensors, batch first."""


class Memory(Structured):
    """Base class of recurrent layers: ``layer(x, state) -> (y, state)``, and ``layer.step(x_t, state)`` for streaming.

    All tensors are batch first. Running a sequence in two parts, with the state passed from one to the other, gives the
    same result as running it at once. A subclass defines its state (:meth:`initial_state`) and one time step
    (:meth:`_advance`) and may override the loop over a whole sequence (:meth:`_run`); this class checks all arguments.

    Args:
        input_size: number of input channels.
        hidden_size: number of units.
        output_size: number of output channels; default: ``hidden_size``.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Raises:
        ValueError: a size is not a positive integer.

    Example:
        >>> class Leaky(Memory):
        ...     def __init__(self, input_size, hidden_size):
        ...         super().__init__(input_size, hidden_size)
        ...         self.drive = torch.nn.Linear(input_size, hidden_size)
        ...
        ...     def _advance(self, x_t, state):
        ...         h = 0.9 * state + 0.1 * self.drive(x_t)
        ...         return h, h
        >>> y, h = Leaky(3, 8)(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
        >>> y.shape, h.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    in_low_precision: ClassVar[bool] = True
    """Whether all operations of the layer support 16-bit dtypes; if not, the layer computes in float32."""

    steps_in_graph: bool = True
    """Whether ``torch.compile`` can trace :meth:`_advance`; if not, a step is one node of the graph."""

    continuous_time: ClassVar[bool] = False
    """Whether steps have durations; if so, :meth:`_run` and :meth:`_advance` also accept ``timespans``."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.input_size = positive_integer("input_size", input_size)
        self.hidden_size = positive_integer("hidden_size", hidden_size)
        self.output_size = positive_integer("output_size", hidden_size if output_size is None else output_size)
        self.opaque_number = opaque_call.register(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Register a copy under a number of its own."""
        super().__setstate__(state)
        self.opaque_number = opaque_call.register(self)

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first step, with the dtype and the device of the parameters.

        Args:
            batch_size: number of sequences in the batch.

        Returns:
            The state: a tensor or a tuple of tensors, batch first.
        """
        return self._zeros(batch_size, self.hidden_size)

    def forward(
        self,
        x: Float[Tensor, "batch time input"],
        state: State = None,
        *,
        timespans: Float[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time output"], State]:
        """Run over a batch of sequences.

        Args:
            x: the input, [batch, time, input_size].
            state: the state that an earlier call returned; default: :meth:`initial_state`.
            timespans: the duration of each step, [batch, time], at least 0, in the unit of the time constants;
                default: 1. Only for continuous-time layers.
            lengths: the number of real steps of each sequence in a padded batch, [batch], from 0 to time; default: all
                steps are real. The values of padded steps have no effect.
            reset: [batch, time]; where it is true, the state returns to :meth:`initial_state` before that step (a new
                episode, or the next of several packed documents). No gradient passes through a reset. Default: none.

        Returns:
            The output [batch, time, output_size], which is 0 at padded steps, and the state after the last real step.

        Raises:
            ValueError: an argument has a wrong shape or dtype, or ``timespans`` was passed to a layer that is not a
                continuous-time layer.
        """
        self._check_input(x, "[batch, time, input_size]", 3)
        batch, time = x.shape[:2]
        state = self._check_state(state, batch)
        given = {"timespans": timespans, "lengths": lengths, "reset": reset}
        if opaque_call.is_in_torch_compile():
            return opaque_memory.call_opaquely(self, x, state, given)
        if self._is_too_narrow():
            return self._in_float32(x, state, given)
        real = None if lengths is None else find_real(lengths, batch, time, x.device)
        if real is not None:
            x = mask_padding(real, x)
            if isinstance(timespans, Tensor) and timespans.shape == real.shape:
                timespans = torch.where(real, timespans, 1)
        options = self._check_timespans(timespans, x)
        if reset is not None:
            check_reset(reset, batch, time)
        only_ends = reset is None
        if real is not None:
            reset = reset_padding(reset, real)
        if 0 in x.shape[:2]:
            return x.new_zeros(*x.shape[:2], self.output_size), pytree.tree_map(torch.clone, state)
        if reset is not None:
            first = tuple(pytree.tree_leaves(self.initial_state(batch)))
            options["episodes"] = Episodes(reset, first, lengths, only_ends)
        takes_all = not options or options.keys() <= _list_arguments(type(self)._run)
        y, after = (self._run if takes_all else self._loop)(x, state, **options)
        return (y if real is None else mask_padding(real, y)), after

    def step(
        self,
        x_t: Float[Tensor, "batch input"],
        state: State = None,
        *,
        timespans: Float[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch output"], State]:
        """Advance by one time step, for streaming; the results are those of :meth:`forward`.

        Args:
            x_t: the input of this step, [batch, input_size].
            state: the state that the previous call returned; default: :meth:`initial_state`.
            timespans: the duration of this step, [batch], at least 0; default: 1. Only for continuous-time layers.

        Returns:
            The output of this step, [batch, output_size], and the state after it.

        Raises:
            ValueError: an argument has a wrong shape or dtype.
        """
        self._check_input(x_t, "[batch, input_size]", 2)
        options = self._check_timespans(timespans, x_t)
        state = self._check_state(state, x_t.shape[0])
        if x_t.shape[0] == 0:
            return x_t.new_zeros(0, self.output_size), pytree.tree_map(torch.clone, state)
        if opaque_call.is_in_torch_compile() and not self.steps_in_graph:
            spans = None if timespans is None else timespans[:, None]
            y, after = opaque_memory.call_opaquely(self, x_t[:, None], state, {"timespans": spans})
            return y[:, 0], after
        if self._is_too_narrow():
            y, after = self._in_float32(x_t[:, None], state, {name: each[:, None] for name, each in options.items()})
            return y[:, 0], after
        y_t, after = self._advance(x_t, state, **options)
        if any(leaf is y_t for leaf in pytree.tree_leaves(after)):
            y_t = y_t.clone()  # so that changing the state in place does not change the output
        return y_t, after

    def pointwise_form(self) -> PointwiseForm | None:
        """Return the layer as a pointwise step, which :class:`remanence.nn.Online` needs; None if it is not one."""
        return None

    def _example(self) -> Tensor:
        """Return a parameter, whose dtype and device are those of the layer."""
        own = next((parameter for parameter in self._parameters.values() if parameter is not None), None)
        return next(self.parameters()) if own is None else own  # the same, but that takes long

    def list_parameters(self) -> list[Tensor]:
        """Return the parameters, in a way that ``torch.compile`` can trace."""
        return list(self.parameters())

    def run_flat(self, tensors: Sequence[Tensor], names: str) -> list[Tensor]:
        """Run as a node of compiled code; see :func:`remanence.nn.opaque_memory.run_flat`."""
        return opaque_memory.run_flat(self, tensors, names)

    def describe_flat(self, tensors: Sequence[Tensor], names: str, autocast_dtype: str) -> list[Description]:
        """Describe the results of :meth:`run_flat`; see :func:`remanence.nn.opaque_memory.describe_flat`."""
        return opaque_memory.describe_flat(self, tensors, names, autocast_dtype)

    def __prepare_scriptable__(self) -> Any:
        """Raise an error that says what to use instead of ``torch.jit.script``, which calls this method first."""
        raise NotImplementedError(
            f"torch.jit.script cannot compile {type(self).__name__}: use torch.jit.trace (which unrolls the loop over "
            "time), or export it with torch.export.export(layer, ...), or one step with "
            "torch.export.export(remanence.nn.Streaming(layer), ...)"
        )

    def _is_too_narrow(self) -> bool:
        return not self.in_low_precision and self._example().dtype in (torch.bfloat16, torch.float16)

    def _in_float32(self, x: Tensor, state: State, options: dict[str, Any]) -> tuple[Tensor, State]:
        """Run with parameters, input and state in float32; return the result in the dtype of x."""
        parameters = {name: parameter.float() for name, parameter in self.named_parameters()}
        wide = pytree.tree_map(torch.Tensor.float, state)
        y, after = torch.func.functional_call(self, parameters, (x.float(), wide), options)
        return y.to(x.dtype), pytree.tree_map(lambda leaf: leaf.to(x.dtype), after)

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        """Run over a checked sequence; if an override does not accept ``episodes``, :meth:`_loop` runs them instead."""
        return self._loop(x, state, episodes)

    def _loop(
        self, x: Tensor, state: State, episodes: Episodes | None = None, timespans: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run over a checked sequence step by step."""
        leaves, nesting = pytree.tree_flatten(state)
        given: dict[str, Tensor] = {"x": x}
        if timespans is not None:
            given["timespans"] = timespans
        if episodes:
            given["reset"] = episodes.reset
            if episodes.lengths is not None:
                given["real"] = find_real(episodes.lengths, x.shape[0], x.shape[1], x.device)
        step = partial(self._advance_flat, nesting, tuple(given), episodes.reset_state if episodes else ())
        (y,), final = loop_over_time(step, leaves * 2 if "real" in given else leaves, list(given.values()))
        return y, pytree.tree_unflatten(list(final[-len(leaves) :]), nesting)

    def _advance_flat(
        self, nesting: Any, names: Sequence[str], reset_state: Tensors, state: Tensors, inputs: Tensors
    ) -> tuple[Tensors, Tensors]:
        """Advance tensors one by one; behind those of the state are, in a padded batch, those of its last real step."""
        now, count = dict(zip(names, inputs, strict=True)), nesting.num_leaves
        s, last = state[:count], state[count:]
        if reset_state:
            s = tuple(begin_anew(now["reset"], *each) for each in zip(reset_state, s, strict=True))
        spans = {"timespans": now["timespans"]} if "timespans" in now else {}
        y_t, after = self._advance(now["x"], pytree.tree_unflatten(list(s), nesting), **spans)
        s = tuple(pytree.tree_leaves(after))
        return (*s, *(begin_anew(now["real"], *each) for each in zip(s, last, strict=False))), (y_t,)

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        raise NotImplementedError

    def _zeros(self, *shape: int) -> Tensor:
        return self._example().new_zeros(shape)

    def _check_input(self, x: Tensor, layout: str, ndim: int) -> None:
        name = type(self).__name__
        if not isinstance(x, Tensor):
            raise UserError(f"{name} expected x {layout}, a tensor, got {describe_value(x)}")
        if x.ndim != ndim or x.shape[-1] != self.input_size:
            raise UserError(f"{name} expected x {layout} with input_size {self.input_size}, got {list(x.shape)}")
        dtype = self._example().dtype
        if not x.is_floating_point() or (x.dtype != dtype and not autocast.is_enabled(x.device)):
            raise UserError(
                f"{name} expected x of {dtype}, as its parameters are, got {x.dtype}: convert it with x.to({dtype})"
            )

    def _check_timespans(self, timespans: Tensor | None, x: Tensor) -> dict[str, Any]:
        if timespans is None:
            return {}
        name = type(self).__name__
        if not self.continuous_time:
            raise UserError(f"{name} is not a continuous-time layer and does not accept `timespans`")
        expected = x.shape[:-1]
        fits = isinstance(timespans, Tensor) and timespans.shape == expected and timespans.is_floating_point()
        if not fits or timespans.device != x.device:
            raise UserError(
                f"{name} expected timespans {list(expected)} of floating point on {x.device}, one for each step of x "
                f"{list(x.shape)}, got {describe_value(timespans)}"
            )
        # Values cannot be read within compiled code, traces and transforms; on a GPU, reading them synchronizes.
        if are_readable(timespans) and not bool(((timespans >= 0) & (timespans < math.inf)).all()):
            first = tuple((~((timespans >= 0) & (timespans < math.inf))).nonzero()[0].tolist())
            raise UserError(
                f"{name} expected timespans that are at least 0 and finite, got {timespans[first].item():g} at "
                f"{list(first)}"
            )
        return {"timespans": timespans}

    def _check_state(self, state: State, batch_size: int) -> State:
        initial = self.initial_state(batch_size)
        if state is None:
            return initial
        given, expected = (
            pytree.tree_map(lambda leaf: list(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__, tree)
            for tree in (state, initial)
        )
        if given != expected:
            raise UserError(f"{type(self).__name__} expected a state of shape {expected}, got {given}")
        for leaf, wanted in zip(pytree.tree_leaves(state), pytree.tree_leaves(initial), strict=True):
            if leaf.dtype != wanted.dtype and not autocast.is_enabled(wanted.device):
                raise UserError(
                    f"{type(self).__name__} expected a state of {wanted.dtype}, as its parameters are, got "
                    f"{leaf.dtype}: convert it with .to({wanted.dtype})"
                )
        return state

    def extra_repr(self) -> str:
        """Return the sizes that ``print(layer)`` shows."""
        return f"input_size={self.input_size}, hidden_size={self.hidden_size}, output_size={self.output_size}"


@functools.cache
def _list_arguments(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
