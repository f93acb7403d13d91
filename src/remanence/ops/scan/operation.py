"""Which backend runs a scan, and whether its arguments make sense."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

from remanence.errors import UserError
from remanence.ops import autocast
from remanence.ops.dispatch import choose, record, warn_once
from remanence.ops.scan import reference
from remanence.ops.scan.backend import MODULES, load
from remanence.ops.scan.fingerprint import fingerprint
from remanence.ops.scan.fused import FusedLoop
from remanence.ops.scan.layout import INPUTS, PARAMS, Group, Layout, Tensors, flat, group, parts
from remanence.ops.scan.trace import Step, TracedStep, UntraceableError
from remanence.ops.uncompiled import uncompiled

Many: TypeAlias = Sequence[Tensor] | Tensor
if TYPE_CHECKING:
    BackendName: TypeAlias = Literal["auto", "reference", "cpu", "gpu", "newton"]
    KernelName: TypeAlias = Literal["cpu", "gpu", "newton"]
else:  # MODULES says which there are, and the tests add one
    BackendName = KernelName = str


def scan(
    step: Step,
    inputs: Sequence[Float[Tensor, "batch time channels"]] | Float[Tensor, "batch time inputs channels"],
    state: Sequence[Float[Tensor, "batch channels"]],
    params: Sequence[Float[Tensor, " channels"]] | Float[Tensor, "params channels"] = (),
    *,
    backend: BackendName = "auto",
    checkpoint_every: int | None = None,
) -> tuple[tuple[Float[Tensor, "batch time channels"], ...], tuple[Float[Tensor, "batch channels"], ...]]:
    """Run a pointwise step over time: ``state = step(state, (x[:, t] for x in inputs), params)``, for every t.

    The step is plain PyTorch, pointwise over batch and channels; it may loop inside (sub-steps). It is traced once, its
    derivative too, and both become fused loops.

    Args:
        step: ``step(state, inputs, params)``, each a tuple of tensors, gives the tuple of the new state.
        inputs: at least one, [batch, time, channels] each. What varies over batch or time belongs here. Or all of them
            in one tensor [batch, time, inputs, channels], as ``linear(x).unflatten(-1, (inputs, -1))`` has it: their
            gradient is one tensor then, too, and nothing is copied.
        state: before the first step, [batch, channels] each.
        params: [channels] each, or all of them in one tensor [params, channels]. What a step computes from params
            alone is computed once, not at every time step.
        backend: ``"reference"``, the plain loop; ``"cpu"``, loops compiled by LLVM; ``"gpu"``, a Triton kernel;
            ``"newton"``, all time steps at once; or ``"auto"``, the fastest that applies.
        checkpoint_every: keep only every k-th state for the backward pass and compute the others anew; default: keep
            all. For very long sequences of which not all states are used.

    Returns:
        The states after every step, [batch, time, channels] each, and the state after the last.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together; an unknown backend; or an explicit backend that
            cannot run this step, with the operation that stopped it. (``"auto"`` runs the reference then, and warns.)

    Example:
        >>> def leaky(state, inputs, params):
        ...     (h,), (x,), (a,) = state, inputs, params
        ...     return (a * h + (1 - a) * x,)
        >>> a = torch.full((8,), 0.9, requires_grad=True)
        >>> (h,), (final,) = scan(leaky, [torch.randn(4, 100, 8)], [torch.zeros(4, 8)], [a])
        >>> h.shape, torch.equal(h[:, -1], final)
        (torch.Size([4, 100, 8]), True)
    """
    return _scan(step, inputs, state, params, backend, checkpoint_every)


@uncompiled
def _scan(
    step: Step, inputs: Many, state: Sequence[Tensor], params: Many, backend: str, every: int | None
) -> tuple[Tensors, Tensors]:
    inputs, state, params = _widened(group(inputs)), autocast.widen(state), _widened(group(params))
    like, counts = _check(inputs, state, params, every)
    if like.shape[1] == 0:
        return tuple(s.new_empty(like.shape) for s in state), tuple(s.clone() for s in state)
    tensors = (*state, *flat(inputs), *flat(params))
    traces: list[TracedStep] = []
    options = {name: partial(_refuses, name, step, counts, like, traces) for name in MODULES}
    name = choose(backend, tensors, like, options, what="this step", told=partial(_tell, step))
    if name == "reference":
        return reference.scan(step, parts(inputs, INPUTS), state, parts(params, PARAMS))
    layout = Layout(counts, isinstance(inputs, Tensor), isinstance(params, Tensor))
    loop = FusedLoop(load(name), traces[-1], layout, every)
    results = record(loop, tensors)
    return results[: len(state)], results[len(state) :]


def _refuses(name: str, step: Step, counts: tuple[int, int, int], like: Tensor, traces: list[TracedStep]) -> str | None:
    """Why a backend cannot run the step, or None; the trace joins the traces."""
    try:
        traces.append(trace_of(step, counts, like))
    except UntraceableError as error:
        return str(error)
    return load(name).refuses(traces[-1], like)


def _tell(step: Step, why: str) -> None:
    name = getattr(step, "__qualname__", type(step).__name__)
    warn_once(f"scan runs {name} as a plain loop over time: {why}")


def scan_source(
    step: Step, inputs: Many, state: Sequence[Tensor], params: Many = (), *, backend: KernelName = "cpu"
) -> str:
    """The code that :func:`scan` generates for a step, forwards and backwards, to be read.

    Args:
        step: as in :func:`scan`.
        inputs: as in :func:`scan`; only their shapes and dtypes matter.
        state: likewise.
        params: likewise.
        backend: whose code.

    Raises:
        ValueError: the step cannot be traced; the message names the operation.
    """
    like, counts = _check(group(inputs), tuple(state), group(params), None)
    try:
        traced = trace_of(step, counts, like)
        return load(backend).source(traced, [True] * sum(traced.counts))
    except UntraceableError as error:
        raise UserError(f"this step cannot be fused: {error}") from error


_TRACES: OrderedDict[Hashable, TracedStep | UntraceableError] = OrderedDict()
_KEEP = 256


def trace_of(step: Step, counts: tuple[int, int, int], like: Tensor) -> TracedStep:
    """The trace of a step, from the last time if nothing that the step depends on has changed."""
    print_ = fingerprint(step)
    batch, _, channels = like.shape
    if print_ is None:
        return TracedStep(step, counts, batch, channels, like.dtype)
    key = (print_, counts, batch, channels, like.dtype)
    found = _TRACES.get(key)
    if found is None:
        try:
            found = TracedStep(step, counts, batch, channels, like.dtype)
        except UntraceableError as error:
            found = error
        _TRACES[key] = found
        if len(_TRACES) > _KEEP:
            _TRACES.popitem(last=False)
    if isinstance(found, UntraceableError):
        raise found
    return found


def _widened(given: Group) -> Group:
    return autocast.widen((given,))[0] if isinstance(given, Tensor) else autocast.widen(given)


def _check(inputs: Group, state: Tensors, params: Group, every: int | None) -> tuple[Tensor, tuple[int, int, int]]:
    """One of the inputs, and how many states, inputs and params there are, if all fit together."""
    together = isinstance(inputs, Tensor)
    ndim, shape = (4, "[batch, time, inputs, channels]") if together else (3, "[batch, time, channels]")
    like = inputs if together else inputs[0] if inputs else None
    if like is not None and (like.ndim != ndim or not like.is_floating_point()):
        raise UserError(f"scan expected inputs {shape} of floating point, got {list(like.shape)} of {like.dtype}")
    counts = len(state), inputs.shape[INPUTS] if together else len(inputs), len(params)
    if like is None or 0 in counts[:2]:
        raise UserError(f"scan needs at least one input and one state, got {counts[1]} and {counts[0]}")
    batch, channels = like.shape[0], like.shape[-1]
    _fit("inputs", flat(inputs), like.shape, like)
    _fit("state", state, (batch, channels), like)
    _fit("params", flat(params), (counts[2], channels) if isinstance(params, Tensor) else (channels,), like)
    if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
        raise UserError(f"checkpoint_every must be a positive integer or None, got {every!r}")
    return like.select(INPUTS, 0) if together else like, counts


def _fit(name: str, tensors: Tensors, shape: Sequence[int], like: Tensor) -> None:
    """Refuse a tensor that is not of this shape, or not of the dtype and on the device of the inputs."""
    dtype, device = like.dtype, like.device
    for index, tensor in enumerate(tensors):
        if tensor.shape != shape or tensor.dtype != dtype or tensor.device != device:
            raise UserError(
                f"scan expected {name}[{index}] to be {list(shape)} of {dtype} on {device}, as inputs[0] "
                f"{list(like.shape)} has it, got {list(tensor.shape)} of {tensor.dtype} on {tensor.device}"
            )
