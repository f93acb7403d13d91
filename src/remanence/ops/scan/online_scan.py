"""A pointwise step over an endless stream: gradients that reach back to its beginning, in memory that does not grow.

The sensitivities of the state, ``P_t = ∂s_t/∂p`` for the parameters and ``E_t = ∂s_t/∂W`` for the weights of the input,
are carried along with the state (real-time recurrent learning). Since the step is pointwise, a state depends on the
parameters of its own channel only::

    P_t = J_t P_{t-1} + ∂f/∂p,    E_t = J_t E_{t-1} + ∂f/∂x · u_tᵀ,    J_t = ∂f/∂s_{t-1}

A piece of the stream is a scan. Its own backward pass gives the derivatives of its last state, from which the
sensitivities advance, and the gradient of its first state, which they carry on to the parameters.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from remanence.errors import UserError
from remanence.ops.eager import run_eagerly
from remanence.ops.episodes import check_reset
from remanence.ops.scan.layout import Tensors, as_group
from remanence.ops.scan.operation import scan, trace_step
from remanence.ops.scan.resets import add_reset
from remanence.ops.scan.trace import Step, UntraceableError


class OnlineState(NamedTuple):
    """The state of a stream, and its derivatives.

    Attributes:
        state: the tensors of the state, [batch, channels] each.
        of_params: ∂state/∂params, [batch, states, params, channels].
        of_weight: ∂state/∂weight, [batch, states, inputs, channels, features].
    """

    state: tuple[Float[Tensor, "batch channels"], ...]
    of_params: Float[Tensor, "batch states params channels"]
    of_weight: Float[Tensor, "batch states inputs channels features"]


@run_eagerly
def scan_online(
    step: Step,
    features: Float[Tensor, "batch time features"],
    weight: Float[Tensor, "rows features"],
    state: Sequence[Float[Tensor, "batch channels"]] | OnlineState,
    params: Sequence[Float[Tensor, " channels"]] | Float[Tensor, "params channels"] = (),
    *,
    more: Sequence[Float[Tensor, "batch time channels"]] = (),
    reset: Bool[Tensor, "batch time"] | None = None,
    reset_state: Sequence[Float[Tensor, "batch channels"]] | None = None,
) -> tuple[tuple[Float[Tensor, "batch time channels"], ...], OnlineState]:
    """Run a pointwise step over a piece of a stream, with gradients that reach all earlier pieces.

    The inputs of the step are ``weight @ features_t``. A loss on the states of this piece gives ``weight`` and
    ``params`` the gradient that backpropagation through the whole stream would give, as long as their values do not
    change. If they change from piece to piece, as in online learning, the part of the gradient that comes from earlier
    pieces is taken at the earlier values. No piece keeps the graph of an earlier one.

    A piece costs one scan, and one backward pass for each tensor of the state. The derivatives that are carried take
    ``batch · channels · states · (params + inputs · features)`` numbers, however long the stream is.

    Args:
        step: ``step(state, inputs, params)`` as for :func:`remanence.scan`, pointwise over [batch, channels].
        features: features [batch, time, features] from which ``weight`` computes the inputs. The gradient of features
            covers this piece only.
        weight: weights [inputs · channels, features]; the rows of the first input come first. A bias belongs to
            ``params``.
        state: the state that the previous call returned; or, at the beginning of a stream, constant tensors [batch,
            channels].
        params: parameters of the step, [channels] each, or all of them in one tensor [params, channels]; default: none.
        more: further inputs of the step, [batch, time, channels] each, which follow those computed from the features
            and get no gradients; default: none.
        reset: where a sample returns to ``reset_state`` before the step, [batch, time]; gradients do not pass a reset.
            Default: nowhere.
        reset_state: constants that a reset restores, [batch, channels] each; default: 0.

    Returns:
        The states after every step, [batch, time, channels] each, and the state for the next call, without a graph.

    Raises:
        ValueError: the step is not pointwise (the message names the operation), or shapes do not match.

    References:
        Williams, Zipser, "A learning algorithm for continually running fully recurrent neural networks", 1989. Zucchet,
        Meier, Schug, Mujika, Sacramento, "Online learning of long-range dependencies", 2023, arXiv:2305.15947 (section
        3: the method is cheap if units do not interact).

    Example:
        >>> def leaky(state, inputs, params):
        ...     (h,), (x,), (a,) = state, inputs, params
        ...     return (torch.sigmoid(a) * h + x,)
        >>> weight, a = torch.randn(8, 3, requires_grad=True), torch.zeros(8, requires_grad=True)
        >>> state = [torch.zeros(4, 8)]
        >>> for piece in torch.randn(4, 100, 3).split(10, 1):
        ...     (h,), state = scan_online(leaky, piece, weight, state, [a])
        ...     h.square().mean().backward()
        >>> h.shape, state.of_weight.shape
        (torch.Size([4, 10, 8]), torch.Size([4, 1, 1, 8, 3]))
    """
    group = as_group(params)
    stacked = group if isinstance(group, Tensor) else torch.stack(group) if group else None
    begin = _begin(features, weight, state, stacked)
    more = tuple(each.detach() for each in more)
    if features.shape[1] == 0:
        return tuple(s[:, None][:, :0] for s in begin.state), begin
    batch, channels = begin.state[0].shape
    for index, each in enumerate(more):
        _check_sequence(f"more[{index}]", each, (batch, features.shape[1], channels))
    first = tuple(torch.zeros_like(s) for s in begin.state) if reset_state is None else tuple(reset_state)
    for index, each in enumerate(first):
        _check_sequence(f"reset_state[{index}]", each, (batch, channels))
    is_learning = torch.is_grad_enabled()
    with torch.enable_grad():
        inputs = *linear(features, weight).unflatten(-1, (-1, channels)).unbind(2), *more
        if reset is not None:
            check_reset(reset, *features.shape[:2])
            step, inputs = add_reset(step, inputs, first, reset)
        piece = _run_piece(step, torch.stack(inputs, 2), begin, stacked, weight)
        after = _advance(begin, piece, features)
    states = tuple(each[0].unflatten(-1, (batch, channels)).transpose(0, 1) for each in piece.states)
    return states if is_learning else tuple(each.detach() for each in states), after


def _begin(
    features: Tensor, weight: Tensor, state: Sequence[Tensor] | OnlineState, params: Tensor | None
) -> OnlineState:
    """Check the shapes and return the state to begin with; at the beginning of a stream its sensitivities are 0."""
    first = tuple(state.state if isinstance(state, OnlineState) else state)
    if not first or any(s.ndim != 2 or s.shape != first[0].shape for s in first) or len(first[0]) != len(features):
        raise UserError(
            f"scan_online expected state [batch, channels] each, for features {list(features.shape)}, got "
            f"{[list(s.shape) for s in first]}"
        )
    batch, channels = first[0].shape
    if weight.shape[0] % channels or weight.shape[0] == 0 or weight.shape[1] != features.shape[2]:
        raise UserError(
            f"scan_online expected weight [inputs * {channels}, {features.shape[2]}], for state [batch, {channels}] "
            f"and features {list(features.shape)}, got {list(weight.shape)}"
        )
    of_params = batch, len(first), 0 if params is None else len(params), channels
    of_weight = batch, len(first), len(weight) // channels, channels, weight.shape[1]
    if not isinstance(state, OnlineState):
        state = OnlineState(first, features.new_zeros(of_params), features.new_zeros(of_weight))
    if state.of_params.shape != of_params or state.of_weight.shape != of_weight:
        raise UserError(
            f"scan_online expected a state of the same step, with of_params {list(of_params)} and of_weight "
            f"{list(of_weight)}, got {list(state.of_params.shape)} and {list(state.of_weight.shape)}"
        )
    return OnlineState(tuple(s.detach() for s in first), state.of_params.detach(), state.of_weight.detach())


def _check_sequence(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tensor.shape != expected:
        raise UserError(f"scan_online expected {name} {list(expected)}, got {list(tensor.shape)}")


class _Piece(NamedTuple):
    """A scan over a piece, the batch folded into the channels, and what it was computed from.

    Attributes:
        start: state before the first step, [1, batch · channels] each.
        inputs: inputs [1, time, inputs, batch · channels]; those computed by the weight come first.
        params: parameters [params, batch · channels]; None if there are none.
        states: states after every step, [1, time, batch · channels] each.
        last: state after the last step, [1, batch · channels] each.
    """

    start: Tensors
    inputs: Tensor
    params: Tensor | None
    states: Tensors
    last: Tensors


def _run_piece(step: Step, inputs: Tensor, begin: OnlineState, params: Tensor | None, weight: Tensor) -> _Piece:
    """Run the scan with the batch folded into the channels, so that each gradient is that of one sample."""
    batch = len(inputs)
    _check_step(step, begin, inputs, params)
    folded = _require_grad(inputs.permute(1, 2, 0, 3).flatten(2)[None])
    of_samples = None if params is None else _require_grad(params[:, None].expand(-1, batch, -1).flatten(1))
    start = tuple(_require_grad(s.reshape(1, -1)) for s in _Carry.apply(begin, params, weight))
    states, last = scan(step, folded, start, () if of_samples is None else of_samples)
    return _Piece(start, folded, of_samples, states, last)


def _check_step(step: Step, begin: OnlineState, inputs: Tensor, params: Tensor | None) -> None:
    counts = len(begin.state), inputs.shape[2], 0 if params is None else len(params)
    try:
        trace_step(step, counts, inputs[:, :, 0])
    except UntraceableError as error:
        raise UserError(f"scan_online needs a step that is pointwise over [batch, channels]: {error}") from error


def _require_grad(tensor: Tensor) -> Tensor:
    """Return the tensor, or if it does not require a gradient a copy that does."""
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()


@torch.no_grad()
def _advance(begin: OnlineState, piece: _Piece, features: Tensor) -> OnlineState:
    """Return the state after a piece, and its sensitivities."""
    batch, _, inputs, channels, _ = begin.of_weight.shape
    wanted = [*piece.start, piece.inputs, *(() if piece.params is None else (piece.params,))]
    of_params, of_weight = [], []
    for last in piece.last:
        *rows, of_inputs, params = (
            *torch.autograd.grad(last, wanted, torch.ones_like(last), retain_graph=True, materialize_grads=True),
            *(() if piece.params is not None else (features.new_zeros(0, batch * channels),)),
        )
        along = of_inputs[0, :, :inputs].unflatten(-1, (batch, channels))
        written = torch.einsum("tmbc,btf->bmcf", along, features)
        learned = params.unflatten(-1, (batch, channels)).transpose(0, 1)
        for before, row in enumerate(rows):
            slope = row.view(batch, 1, channels)
            written = written + slope[..., None] * begin.of_weight[:, before]
            learned = learned + slope * begin.of_params[:, before]
        of_weight.append(written)
        of_params.append(learned)
    state = tuple(last.view(batch, channels).clone() for last in piece.last)
    return OnlineState(state, torch.stack(of_params, 1), torch.stack(of_weight, 1))


class _Carry(torch.autograd.Function):
    """Returns a state whose gradient passes to the parameters and the weight through the sensitivities."""

    @staticmethod
    def forward(ctx: Any, begin: OnlineState, params: Tensor | None, weight: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(begin.of_params, begin.of_weight)
        ctx.has_params, ctx.shape = params is not None, weight.shape
        return tuple(s.clone() for s in begin.state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        of_params, of_weight = ctx.saved_tensors
        above = torch.stack(grads, 1)  # [batch, states, channels]
        through_params = torch.einsum("bsc,bspc->pc", above, of_params) if ctx.has_params else None
        return None, through_params, torch.einsum("bsc,bsmcf->mcf", above, of_weight).reshape(ctx.shape)
