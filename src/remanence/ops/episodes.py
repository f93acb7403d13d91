"""Where the samples of a batch are reset and where they end."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from remanence._kernels.addressing import are_readable
from remanence.errors import UserError, describe_value


class Episodes(NamedTuple):
    """Where the samples of a batch are reset and where they end.

    Attributes:
        reset: where the state returns to ``reset_state`` before the step, [batch, time], bool; true in the padding.
        reset_state: tensors that a reset restores, [batch, ...] each.
        lengths: number of real steps of each sample, [batch]; None (default) if all are real.
        only_ends: whether samples end, as ``lengths`` says, but are never reset; default: False.
    """

    reset: Bool[Tensor, "batch time"]
    reset_state: tuple[Tensor, ...]
    lengths: Int[Tensor, " batch"] | None = None
    only_ends: bool = False


def as_options(episodes: Episodes | None) -> dict[str, Any]:
    """Return episodes as the keyword arguments of :func:`remanence.scan`."""
    if episodes is None:
        return {}
    return {"reset": episodes.reset, "reset_state": episodes.reset_state, "lengths": episodes.lengths}


def check_reset(reset: Tensor, batch: int, time: int) -> None:
    """Raise a ``ValueError`` if a reset is not a bool tensor [batch, time]."""
    if not isinstance(reset, Tensor) or reset.dtype != torch.bool or reset.shape != (batch, time):
        raise UserError(f"reset must be [batch, time] = {[batch, time]} of torch.bool, got {describe_value(reset)}")


def find_real(lengths: Tensor, batch: int, time: int, device: torch.device) -> Tensor:
    """Return which steps of a padded batch are real, [batch, time].

    Args:
        lengths: number of real steps of each sample, [batch], integers from 0 to ``time``.
        batch: number of samples.
        time: number of time steps.
        device: device of the result.

    Raises:
        ValueError: ``lengths`` has another shape or dtype, or is out of range.
    """
    fits = isinstance(lengths, Tensor) and lengths.dtype in (torch.int64, torch.int32) and lengths.shape == (batch,)
    if not fits:
        raise UserError(f"lengths must be [batch] = {[batch]} of torch.int64, got {describe_value(lengths)}")
    if are_readable(lengths) and bool(((lengths < 0) | (lengths > time)).any()):
        raise UserError(f"lengths must be from 0 to {time}, the steps of x, got {lengths.tolist()}")
    return torch.arange(time, device=device) < lengths.to(device)[:, None]


def reset_padding(reset: Tensor | None, real: Tensor) -> Tensor:
    """Return a reset that is also true in the padding, so that nothing grows there and no gradient comes back."""
    return ~real if reset is None else reset | ~real


def select_last(over_time: Tensor, last: Tensor, before: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the state after the last real step of each sample, [batch, ...].

    Args:
        over_time: states after every step, [batch, time, ...].
        last: state after the last step, [batch, ...], which is returned if ``lengths`` is None.
        before: state before the first step, [batch, ...], which is returned for samples without a real step.
        lengths: number of real steps of each sample, [batch]; None if all are real.
    """
    if lengths is None:
        return last
    lengths = lengths.to(over_time.device, torch.int64)
    place = align(lengths - 1, over_time).clamp(min=0).expand(-1, 1, *over_time.shape[2:])
    return torch.where(align(lengths > 0, before), over_time.gather(1, place)[:, 0], before)


def mask_padding(real: Tensor, values: Tensor) -> Tensor:
    """Return values [batch, time, ...] with 0 in the padding, through which no gradient flows."""
    return torch.where(real.reshape(*real.shape, *[1] * (values.ndim - 2)), values, 0)


def begin_anew(reset: Tensor, first: Tensor, state: Tensor) -> Tensor:
    """Return ``first`` for the samples where ``reset`` [batch] is true, and ``state`` for the others."""
    return torch.where(align(reset, state), first, state)


def align(values: Tensor, like: Tensor) -> Tensor:
    """Return values [batch] (or more, pointwise) with as many dimensions as ``like`` has."""
    return values if values.ndim == like.ndim else values.reshape(-1, *[1] * (like.ndim - 1))
