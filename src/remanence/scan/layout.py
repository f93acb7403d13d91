"""The tensors of a scan as its caller gives them: one by one, or all inputs, all parameters, in one tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Tensors: TypeAlias = tuple[Tensor, ...]
Group: TypeAlias = Tensors | Tensor
"""Inputs [batch, time, channels] each or all in [batch, time, inputs, channels]; params [channels] or all in [params,
channels]."""

INPUTS, PARAMS = 2, 0  # the dimension along which they lie in one tensor


def group(given: Sequence[Tensor] | Tensor) -> Group:
    """One tensor as it is, others as a tuple."""
    return given if isinstance(given, Tensor) else tuple(given)


def flat(given: Group) -> Tensors:
    """The tensors that there are."""
    return (given,) if isinstance(given, Tensor) else given


def parts(given: Group, dim: int) -> Tensors:
    """One by one."""
    return given.unbind(dim) if isinstance(given, Tensor) else given


@dataclass(frozen=True)
class Layout:
    """How the states, the inputs and the params lie in a flat sequence of tensors.

    Attributes:
        counts: how many there are of each.
        inputs_in_one: whether all inputs are one tensor.
        params_in_one: likewise.
    """

    counts: tuple[int, int, int]
    inputs_in_one: bool
    params_in_one: bool

    def split(self, flat: Sequence[Tensor]) -> tuple[Tensors, Tensors, Tensors]:
        """States, inputs and params, one by one."""
        states, inputs, _ = self.counts
        params = states + (1 if self.inputs_in_one else inputs)
        return (
            tuple(flat[:states]),
            flat[states].unbind(INPUTS) if self.inputs_in_one else tuple(flat[states:params]),
            flat[params].unbind(PARAMS) if self.params_in_one else tuple(flat[params:]),
        )

    def spread(self, flat: Sequence[bool]) -> tuple[bool, ...]:
        """What is said of each tensor, for each state, input and param."""
        states, inputs, params = self.counts
        rest = list(flat[states:])
        of_inputs = rest[:1] * inputs if self.inputs_in_one else rest[:inputs]
        of_params = rest[-1:] * params if self.params_in_one else rest[len(rest) - params :]
        return (*flat[:states], *of_inputs, *of_params)

    def joined(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Gradients one by one as those of the flat sequence."""
        states, inputs, _ = self.counts
        of_inputs, of_params = grads[states : states + inputs], grads[states + inputs :]
        return [
            *grads[:states],
            *([_whole(of_inputs, INPUTS)] if self.inputs_in_one else of_inputs),
            *([_whole(of_params, PARAMS)] if self.params_in_one else of_params),
        ]


def _whole(grads: Sequence[Tensor | None], dim: int) -> Tensor | None:
    """The one tensor that they are the parts of; made anew where there is none."""
    given = [grad for grad in grads if grad is not None]
    if not given:
        return None
    base, channels = given[0]._base, given[0].shape[-1]
    shape = (*given[0].shape[:dim], len(given), channels)
    if base is None or base.shape != shape or not base.is_contiguous():
        return torch.stack(given, dim)
    in_place = all(grad._base is base and grad.storage_offset() == i * channels for i, grad in enumerate(given))
    return base if in_place else torch.stack(given, dim)
