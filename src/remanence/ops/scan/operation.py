"""Checks the arguments of a scan, traces its step, and chooses the backend."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from remanence.errors import UserError
from remanence.ops import autocast, opaque_call
from remanence.ops.dispatch import choose, record, warn_once
from remanence.ops.episodes import check_reset, find_real, mask_padding, reset_padding, select_last
from remanence.ops.scan import reference
from remanence.ops.scan.associative import is_fastest
from remanence.ops.scan.backend import MODULES, load
from remanence.ops.scan.fingerprint import fingerprint
from remanence.ops.scan.fused_loop import FusedLoop
from remanence.ops.scan.layout import INPUTS, PARAMS, Group, Layout, Tensors, as_group, list_tensors, unbind_group
from remanence.ops.scan.opaque_scan import scan_opaquely
from remanence.ops.scan.resets import add_reset
from remanence.ops.scan.tensors import tensor_backend
from remanence.ops.scan.tensors.tensor_graph import Shape
from remanence.ops.scan.tensors.tensor_loop import TensorLoop
from remanence.ops.scan.tensors.tensor_trace import Shapes, TracedTensorStep
from remanence.ops.scan.trace import Step, TracedStep, UntraceableError

Many: TypeAlias = Sequence[Tensor] | Tensor
Traced = TypeVar("Traced")
if TYPE_CHECKING:
    BackendName: TypeAlias = Literal["auto", "reference", "cpu", "gpu", "newton", "associative"]
    KernelName: TypeAlias = Literal["cpu", "gpu", "newton", "associative"]
else:  # the names are the keys of MODULES, to which the tests add one
    BackendName = KernelName = str


def scan(
    step: Step,
    inputs: Sequence[Float[Tensor, "batch time *_"]] | Float[Tensor, "batch time inputs channels"],
    state: Sequence[Float[Tensor, "batch *_"]],
    params: Sequence[Float[Tensor, "*_"]] | Float[Tensor, "params channels"] = (),
    *,
    reset: Bool[Tensor, "batch time"] | None = None,
    reset_state: Sequence[Float[Tensor, "batch *_"]] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
    backend: BackendName = "auto",
    checkpoint_every: int | None = None,
) -> tuple[tuple[Float[Tensor, "batch time *_"], ...], tuple[Float[Tensor, "batch *_"], ...]]:
    """Run a step over time: ``state = step(state, (x[:, t] for x in inputs), params)``, for every t.

    The step is plain PyTorch on tensors whose first dimension is the batch. It may loop inside (sub-steps). It is
    traced once, together with its derivative, and both become fused loops, with gradients for inputs, state and params.

    A step that is pointwise over [batch, channels] is computed in registers. A step may also contain matrix products
    (``h @ W``, ``F.linear``, ``torch.einsum``, with params and between states), states of any shape, reductions over
    features (``sum``, ``mean``, ``amax``, ``softmax``, ``layer_norm``, ``norm``), and changes of layout (``chunk``,
    ``cat``, ``stack``, ``reshape``, ``transpose``). A step that mixes the samples of a batch, branches
    on a value, sorts, or draws random numbers is run as a plain loop.

    Args:
        step: function ``step(state, inputs, params)`` that takes three tuples of tensors and returns the tuple of the
            new state.
        inputs: one or more tensors [batch, time, ...] with everything that varies over the batch or over time. For a
            pointwise step they may also be one tensor [batch, time, inputs, channels], such as
            ``linear(x).unflatten(-1, (inputs, -1))``; their gradient is then one tensor, too, and nothing is copied.
        state: tensors of the state before the first step, [batch, ...] each.
        params: tensors of any shape, or, for a pointwise step, one tensor [params, channels]. What the step computes
            from params alone is computed once, not at every time step. Default: none.
        reset: where a sample returns to ``reset_state`` before the step, [batch, time]: at the beginning of an episode,
            or of a document if several are packed into one sequence. Gradients do not pass a reset. Default: nowhere.
        reset_state: tensors that a reset restores, [batch, ...] each; default: ``state``.
        lengths: number of real steps of each sample of a padded batch, [batch], from 0 to time. The padding is ignored:
            the states there are 0, and the final state is the one after the last real step. Default: all steps are
            real.
        backend: ``"reference"``, a plain loop; ``"cpu"``, loops compiled by LLVM; ``"gpu"``, a Triton kernel;
            ``"newton"``, all time steps at once, by iterations; ``"associative"``, all time steps at once for a step
            that is linear in its state, without iterations; or ``"auto"`` (default), the fastest that applies.
        checkpoint_every: keep only every k-th state for the backward pass and recompute the others; this saves memory
            if a sequence is very long and not all of its states are used. Default: keep all.

    Returns:
        The states after every step, [batch, time, ...] each, and the state after the last step, [batch, ...] each.

    Raises:
        ValueError: shapes, dtypes or devices do not match, the backend is unknown, or an explicit backend cannot run
            this step (the message names the operation; ``"auto"`` runs the reference instead, and warns).

    Example:
        >>> def leaky(state, inputs, params):
        ...     (h,), (x,), (a,) = state, inputs, params
        ...     return (a * h + (1 - a) * x,)
        >>> a = torch.full((8,), 0.9, requires_grad=True)
        >>> (h,), (final,) = scan(leaky, [torch.randn(4, 100, 8)], [torch.zeros(4, 8)], [a])
        >>> h.shape, torch.equal(h[:, -1], final)
        (torch.Size([4, 100, 8]), True)
    """
    if opaque_call.is_in_torch_compile():
        given = {"reset": reset, "reset_state": reset_state, "lengths": lengths}
        options = ("backend", backend), ("checkpoint_every", checkpoint_every)
        return scan_opaquely(scan, step, as_group(inputs), tuple(state), as_group(params), given, options)
    if reset is None and lengths is None:
        return _scan(step, inputs, state, params, backend, checkpoint_every)
    return _scan_episodes(step, inputs, state, params, reset, reset_state, lengths, backend, checkpoint_every)


def _scan_episodes(
    step: Step,
    inputs: Many,
    state: Sequence[Tensor],
    params: Many,
    reset: Tensor | None,
    reset_state: Sequence[Tensor] | None,
    lengths: Tensor | None,
    backend: str,
    every: int | None,
) -> tuple[Tensors, Tensors]:
    """Run a scan whose sequences are reset or end early: the step resets, and the inputs are masked."""
    inputs, state, params = _widen(as_group(inputs)), autocast.widen(state), _widen(as_group(params))
    like, _ = _check(inputs, state, params, every)
    batch, time = like.shape[:2]
    if reset is not None:
        check_reset(reset, batch, time)
    real = None if lengths is None else find_real(lengths, batch, time, like.device)
    if real is not None:
        inputs = (
            mask_padding(real, inputs) if isinstance(inputs, Tensor) else tuple(mask_padding(real, x) for x in inputs)
        )
        reset = reset_padding(reset, real)
    assert reset is not None
    first = state if reset_state is None else autocast.widen(reset_state)
    if [s.shape for s in first] != [s.shape for s in state]:
        shapes = [[list(s.shape) for s in each] for each in (state, first)]
        raise UserError(f"reset_state must be like state, {shapes[0]}, got {shapes[1]}")
    step, inputs = add_reset(step, inputs, first, reset)
    states, final = _scan(step, inputs, state, params, backend, every)
    if real is None:
        return states, final
    final = tuple(select_last(*each, lengths) for each in zip(states, final, state, strict=True))
    return tuple(mask_padding(real, over_time) for over_time in states), final


def _scan(
    step: Step, inputs: Many, state: Sequence[Tensor], params: Many, backend: str, every: int | None
) -> tuple[Tensors, Tensors]:
    inputs, state, params = _widen(as_group(inputs)), autocast.widen(state), _widen(as_group(params))
    like, counts = _check(inputs, state, params, every)
    if like.shape[1] == 0:
        return tuple(s.new_empty(len(s), 0, *s.shape[1:]) for s in state), tuple(s.clone() for s in state)
    tensors = (*state, *list_tensors(inputs), *list_tensors(params))
    given = _ScanArguments(step, unbind_group(inputs, INPUTS), state, unbind_group(params, PARAMS), like)
    options = {name: partial(given.refuses, name) for name in MODULES}
    name = choose(backend, tensors, like, options, what="this step", on_refusal=partial(_warn, step))
    if name == "reference":
        return reference.scan(step, given.inputs, state, given.params)
    if isinstance(given.traced, TracedTensorStep):
        loop = TensorLoop(tensor_backend.load(name), given.traced, every)
        results = record(loop, (*state, *given.inputs, *given.params))
    else:
        assert given.traced is not None
        if backend == "auto" and name == "gpu" and every is None and is_fastest(given.traced, like):
            name = "associative"
        layout = Layout(counts, isinstance(inputs, Tensor), isinstance(params, Tensor))
        results = record(FusedLoop(load(name), given.traced, layout, every), tensors)
    return results[: len(state)], results[len(state) :]


@dataclass
class _ScanArguments:
    """The arguments of a scan, and the trace of its step once it has been traced."""

    step: Step
    inputs: Tensors
    state: Tensors
    params: Tensors
    like: Tensor
    traced: TracedStep | TracedTensorStep | None = None

    def refuses(self, name: str) -> str | None:
        """Return why a backend cannot run the step, or None."""
        why = self.trace(name)
        if why is not None or self.traced is None:
            return why
        if isinstance(self.traced, TracedTensorStep):
            why = tensor_backend.load(name).refuses(self.traced, self.like)
        else:
            why = load(name).refuses(self.traced, self.like)
        if why is None and torch.is_grad_enabled():
            tensors = (*self.inputs, *self.state, *self.params)
            return self.traced.refuses_derivative if any(x.requires_grad for x in tensors) else None
        return why

    def trace(self, name: str) -> str | None:
        """Trace the step for a backend; return why it cannot be traced, or None."""
        why = self._trace_pointwise()
        if why is None or name not in tensor_backend.MODULES:
            return why
        shapes = _inner_shapes(self.state, 1), _inner_shapes(self.inputs, 2), _inner_shapes(self.params, 0)
        dtype = self.like.dtype
        if name == "gpu":  # the GPU computes in float32 at least
            dtype = torch.promote_types(dtype, torch.float32)
        try:
            self.traced = trace_tensor_step(self.step, shapes, dtype)
        except UntraceableError as error:
            return str(error)
        return None

    def _trace_pointwise(self) -> str | None:
        """Trace a pointwise step, which is computed in registers; return why it cannot be traced, or None."""
        batch, _, channels = self.like.shape if self.like.ndim == 3 else (0, 0, 0)
        is_pointwise = (
            self.like.ndim == 3
            and all(x.shape == self.like.shape for x in self.inputs)
            and all(s.shape == (batch, channels) for s in self.state)
            and all(p.shape == (channels,) for p in self.params)
        )
        if not is_pointwise:
            return "its tensors are not all [batch, channels]"
        counts = len(self.state), len(self.inputs), len(self.params)
        try:
            self.traced = trace_step(self.step, counts, self.like)
        except UntraceableError as error:
            return str(error)
        return None


def _inner_shapes(tensors: Tensors, lead: int) -> tuple[Shape, ...]:
    """Return the shapes without their first ``lead`` dimensions (batch, or batch and time)."""
    return tuple(tuple(x.shape[lead:]) for x in tensors)


def _warn(step: Step, why: str) -> None:
    name = getattr(step, "__qualname__", type(step).__name__)
    warn_once(f"scan runs {name} as a plain loop over time: {why}")


def scan_source(
    step: Step, inputs: Many, state: Sequence[Tensor], params: Many = (), *, backend: KernelName = "cpu"
) -> str:
    """Return the code that :func:`scan` generates for a step, forwards and backwards, for people to read.

    Args:
        step: as in :func:`scan`.
        inputs: as in :func:`scan`; only shapes and dtypes matter.
        state: as in :func:`scan`; only shapes and dtypes matter.
        params: as in :func:`scan`; only shapes and dtypes matter. Default: none.
        backend: the backend that generates the code; default: ``"cpu"``.

    Returns:
        The source text of the forward and the backward kernel.

    Raises:
        ValueError: the step cannot be traced; the message names the operation.

    Example:
        >>> def leak(state, inputs, params):
        ...     return (0.9 * state[0] + inputs[0],)
        >>> source = scan_source(leak, [torch.zeros(2, 10, 3)], [torch.zeros(2, 3)])
        >>> "def forward(" in source, "def backward(" in source
        (True, True)
    """
    like, counts = _check(as_group(inputs), tuple(state), as_group(params), None)
    given = _ScanArguments(
        step, unbind_group(as_group(inputs), INPUTS), tuple(state), unbind_group(as_group(params), PARAMS), like
    )
    why = given.trace(backend)
    if why is not None or given.traced is None:
        raise UserError(f"this step cannot be fused: {why}")
    if isinstance(given.traced, TracedTensorStep):
        return tensor_backend.load(backend).source(given.traced)
    return load(backend).source(given.traced, [True] * sum(counts))


_TRACES: OrderedDict[Hashable, Any] = OrderedDict()
_KEEP = 256


def trace_step(step: Step, counts: tuple[int, int, int], like: Tensor) -> TracedStep:
    """Trace a pointwise step, or return an earlier trace if nothing that the step depends on has changed."""
    batch, _, channels = like.shape
    key = (counts, batch, channels, like.dtype)
    return _reuse_trace(step, key, lambda: TracedStep(step, counts, batch, channels, like.dtype))


def trace_tensor_step(step: Step, shapes: Shapes, dtype: torch.dtype) -> TracedTensorStep:
    """Trace a step on tensors of any shape, or return an earlier trace if nothing has changed."""
    return _reuse_trace(step, (shapes, dtype), lambda: TracedTensorStep(step, shapes, dtype))


def _reuse_trace(step: Step, of: Hashable, trace: Callable[[], Traced]) -> Traced:
    print_ = fingerprint(step)
    if print_ is None:
        return trace()
    key = (print_, of)
    found: Any = _TRACES.get(key)
    if found is None:
        try:
            found = trace()
        except UntraceableError as error:
            found = error
        _TRACES[key] = found
        if len(_TRACES) > _KEEP:
            _TRACES.popitem(last=False)
    if isinstance(found, UntraceableError):
        raise found
    return found


def _widen(given: Group) -> Group:
    return autocast.widen((given,))[0] if isinstance(given, Tensor) else autocast.widen(given)


def _check(inputs: Group, state: Tensors, params: Group, every: int | None) -> tuple[Tensor, tuple[int, int, int]]:
    """Check that all tensors fit together; return one of the inputs, and the numbers of states, inputs and params."""
    together = isinstance(inputs, Tensor)
    fits, shape = ((4,), "[batch, time, inputs, channels]") if together else (range(2, 64), "[batch, time, ...]")
    like = inputs if together else inputs[0] if inputs else None
    if like is not None and (like.ndim not in fits or not like.is_floating_point()):
        raise UserError(f"scan expected inputs {shape} of floating point, got {list(like.shape)} of {like.dtype}")
    counts = len(state), inputs.shape[INPUTS] if together else len(inputs), len(params)
    if like is None or 0 in counts[:2]:
        raise UserError(f"scan needs at least one input and one state, got {counts[1]} and {counts[0]}")
    _check_group("inputs", list_tensors(inputs), like.shape[:2], like)
    _check_group("state", state, like.shape[:1], like)
    _check_group("params", list_tensors(params), (), like)
    if isinstance(params, Tensor) and params.shape[1:] != like.shape[-1:]:
        expected = [counts[2], like.shape[-1]]
        raise UserError(f"scan expected params[0] to be {expected} in one tensor, got {list(params.shape)}")
    if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
        raise UserError(f"checkpoint_every must be a positive integer or None, got {every!r}")
    return like.select(INPUTS, 0) if together else like, counts


def _check_group(name: str, tensors: Tensors, lead: Sequence[int], like: Tensor) -> None:
    """Check that the shapes of tensors begin with ``lead``, and that dtype and device are those of the inputs."""
    dtype, device = like.dtype, like.device
    for index, tensor in enumerate(tensors):
        if tensor.shape[: len(lead)] != lead or tensor.dtype != dtype or tensor.device != device:
            shape = ", ".join(map(str, (*lead, "...")))
            raise UserError(
                f"scan expected {name}[{index}] to be [{shape}] of {dtype} on {device}, as inputs[0] "
                f"{list(like.shape)} has it, got {list(tensor.shape)} of {tensor.dtype} on {tensor.device}"
            )
