"""A memory as one node of compiled code; the node's inputs are x, the state, optional arguments and parameters."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from remanence._torch import pytree
from remanence.errors import UserError
from remanence.ops import opaque_call
from remanence.ops.opaque_call import Description

if TYPE_CHECKING:
    from remanence.nn.memory import Memory, State


class _Forward(nn.Module):
    """Calls ``forward`` of a layer without its hooks, since compiled code runs these itself."""

    def __init__(self, layer: "Memory"):
        super().__init__()
        self.layer = layer

    def forward(self, *args: Any, **options: Any) -> tuple[Tensor, "State"]:
        return self.layer.forward(*args, **options)


def call_opaquely(
    layer: "Memory", x: Tensor, state: "State", options: Mapping[str, Tensor | None]
) -> tuple[Tensor, "State"]:
    """Run the forward pass of a layer as one node of the graph that is being compiled.

    Args:
        layer: the memory.
        x: the input, as for its ``forward``.
        state: the state, not None.
        options: the optional arguments of its ``forward``.
    """
    leaves, nesting = pytree.tree_flatten(state)
    given = {name: value for name, value in options.items() if value is not None}
    tensors = [x, *leaves, *given.values(), *layer.list_parameters()]
    y, *after = opaque_call.call(layer.opaque_number, tensors, ",".join(given))
    return y, pytree.tree_unflatten(after, nesting)


def run_flat(layer: "Memory", tensors: Sequence[Tensor], names: str) -> list[Tensor]:
    """Run the layer on the tensors of :func:`call_opaquely`."""
    initial, nesting = pytree.tree_flatten(layer.initial_state(1))
    x, *rest = tensors
    leaves, rest = rest[: len(initial)], rest[len(initial) :]
    given = names.split(",") if names else []
    options, values = dict(zip(given, rest, strict=False)), rest[len(given) :]
    name_of = {id(parameter): f"layer.{name}" for name, parameter in layer.named_parameters()}
    own = [name_of.get(id(parameter), "") for parameter in layer.list_parameters()]
    if "" in own:
        raise UserError(
            f"parameters of {type(layer).__name__} were replaced, for example by a parametrization: before "
            "torch.compile, call its .to() with its own device, which registers the new parameters"
        )
    parameters = dict(zip(own, values, strict=True))
    state = pytree.tree_unflatten(list(leaves), nesting)
    y, after = torch.func.functional_call(_Forward(layer), parameters, (x, state), options)
    return [y, *pytree.tree_leaves(after)]


def describe_flat(layer: "Memory", tensors: Sequence[Tensor], names: str, autocast_dtype: str) -> list[Description]:
    """Return the shapes and dtypes of the results of :func:`run_flat`."""
    x, *rest = tensors
    with opaque_call.try_eagerly():
        count = len(pytree.tree_leaves(layer.initial_state(1)))
    shapes = [(*x.shape[:2], layer.output_size), *(leaf.shape for leaf in rest[:count])]
    if not autocast_dtype:
        return [(shape, tensor.dtype) for shape, tensor in zip(shapes, tensors, strict=False)]
    return list(zip(shapes, _find_dtypes(layer, autocast_dtype), strict=True))


def _find_dtypes(layer: "Memory", autocast_dtype: str) -> list[torch.dtype]:
    """Find the dtypes of the results under autocast, which depend on the layer, by running one time step."""
    with opaque_call.try_eagerly():
        x = next(layer.parameters()).new_zeros(1, 1, layer.input_size)
        with torch.autocast(x.device.type, getattr(torch, autocast_dtype)):
            results = layer.forward(x)
    return [leaf.dtype for leaf in pytree.tree_leaves(results)]
