"""The tensors of a scan: separate tensors, or all inputs or all parameters in one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Tensors: TypeAlias = tuple[Tensor, ...]
Optionals: TypeAlias = tuple[Tensor | None, ...]
Group: TypeAlias = Tensors | Tensor
"""Inputs [batch, time, channels] each or all in [batch, time, inputs, channels]; params [channels] or all in [params,
channels]."""

INPUTS, PARAMS = 2, 0  # the dimension along which they are stacked in one tensor


def as_group(given: Sequence[Tensor] | Tensor) -> Group:
    """Return one tensor unchanged, and a sequence of tensors as a tuple."""
    return given if isinstance(given, Tensor) else tuple(given)


def list_tensors(given: Group) -> Tensors:
    """Return the tensors of a group, without unbinding."""
    return (given,) if isinstance(given, Tensor) else given


def unbind_group(given: tuple[Item, ...] | Tensor, dim: int) -> tuple[Item, ...] | Tensors:
    """Return the items of a group one by one."""
    return given.unbind(dim) if isinstance(given, Tensor) else given


class Gradients(NamedTuple):
    """Gradients of states, inputs and params; None where none is needed. A group may be in one tensor."""

    state: Optionals
    inputs: Optionals | Tensor
    params: Optionals | Tensor


@dataclass(frozen=True)
class Layout:
    """The order of states, inputs and params in a flat sequence of tensors.

    Attributes:
        counts: the numbers of states, inputs and params.
        inputs_in_one: whether all inputs are one tensor.
        params_in_one: whether all params are one tensor.
    """

    counts: tuple[int, int, int]
    inputs_in_one: bool
    params_in_one: bool

    def split(self, flat: Sequence[Tensor]) -> tuple[Tensors, Tensors, Group]:
        """Split a sequence into states, inputs and params; params in one tensor stay in one tensor."""
        states, inputs, _ = self.counts
        params = states + (1 if self.inputs_in_one else inputs)
        return (
            tuple(flat[:states]),
            flat[states].unbind(INPUTS) if self.inputs_in_one else tuple(flat[states:params]),
            flat[params] if self.params_in_one else tuple(flat[params:]),
        )

    def expand_flags(self, flat: Sequence[bool]) -> tuple[bool, ...]:
        """Expand flags of tensors to flags of each state, input and param."""
        states, inputs, params = self.counts
        rest = list(flat[states:])
        of_inputs = rest[:1] * inputs if self.inputs_in_one else rest[:inputs]
        of_params = rest[-1:] * params if self.params_in_one else rest[len(rest) - params :]
        return (*flat[:states], *of_inputs, *of_params)

    def join(self, grads: Gradients) -> list[Tensor | None]:
        """Join gradients in the order of the flat sequence."""
        of_inputs = [_stack(grads.inputs, INPUTS)] if self.inputs_in_one else unbind_group(grads.inputs, INPUTS)
        of_params = [_stack(grads.params, PARAMS)] if self.params_in_one else unbind_group(grads.params, PARAMS)
        return [*grads.state, *of_inputs, *of_params]


def _stack(grads: Optionals | Tensor, dim: int) -> Tensor | None:
    """Stack gradients in one tensor; None if none is needed."""
    if isinstance(grads, Tensor):
        return grads
    given = [grad for grad in grads if grad is not None]
    return torch.stack(given, dim) if given else None
