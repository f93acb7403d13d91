"""Operations that only move the numbers of a sample; applying them to indices shows which number goes where."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from remanence.ops.scan.tensors.structural import TensorEmitter
from remanence.ops.scan.tensors.tensor_graph import Shape, ShapeError, size_of

TAKES = ("index", "index_select", "flip", "roll")
"""The result is some of the numbers of the first argument."""

PUTS = ("index_put", "_index_put_impl", "index_add")
"""What autograd makes of these: numbers are added to some of those of the first argument."""


def take(e: TensorEmitter, x: int, move: Callable[[Tensor], Tensor]) -> int:
    """Record an operation that takes some numbers of every sample.

    Args:
        e: with the operation's result in the trace.
        x: the node of its argument.
        move: the operation on a tensor like the argument.

    Raises:
        ShapeError: numbers of one sample go to another.
    """
    places, axis = _find_places(e.shape(x), e.axis(x), e.batch, move, tuple(e.outputs[0].shape))
    shape = e.sample_shape(e.outputs[0].shape, axis)
    return e.builder.add("take", e.make_contiguous(e.real(x)), value=places, shape=shape, axis=axis)


def put(e: TensorEmitter, target: int, x: int, x_shape: Shape, move: Callable[[Tensor], Tensor]) -> int:
    """Record an operation that adds numbers at some places of every sample.

    Args:
        e: with the operation's result in the trace.
        target: the node to which is added.
        x: the node that is added.
        x_shape: its shape in the trace.
        move: selects the numbers of a tensor like ``target`` to which is added.

    Raises:
        ShapeError: numbers of one sample go to another, or what is added has not a number for every place.
    """
    places, axis = _find_places(e.shape(target), e.axis(target), e.batch, move, x_shape)
    if e.axis(x) != axis:
        raise ShapeError("what is added has its batch in another dimension")
    shape = e.shape(target)
    added = e.builder.add("put", e.make_contiguous(e.real(x)), value=places, shape=shape, axis=e.axis(target))
    return e.add(target, added)


def _find_places(
    shape: Shape, axis: int | None, batch: int, move: Callable[[Tensor], Tensor], expected: Shape
) -> tuple[tuple[int, ...], int]:
    """Find which number of a sample goes to each place of the result, and the dimension of the batch there."""
    if axis is None or shape[axis] != 1:
        raise ShapeError("the batch is not a dimension of its own")
    size = size_of(shape)
    steps = [1] * len(shape)
    steps[axis] = batch
    numbers = torch.arange(size).view(shape) + size * torch.arange(batch).view(steps)
    moved = move(numbers)
    if tuple(moved.shape) != tuple(expected):
        raise ShapeError("numbers that are repeated while they are moved")
    for place in range(moved.ndim):
        if moved.shape[place] == batch:
            first = moved.select(place, 0)
            samples = torch.arange(batch).view([-1] + [1] * (moved.ndim - 1)) * size
            if bool((first >= 0).all() & (first < size).all()) and torch.equal(
                moved.movedim(place, 0), first[None] + samples
            ):
                return tuple(first.reshape(-1).tolist()), place
    raise ShapeError("numbers of one sample go to another")


def make_move(name: str, func: Any, args: list[Any]) -> Callable[[Tensor], Tensor]:
    """Return the operation as a function of its first argument; for one that adds, a function that selects where."""
    if name == "index_add":
        return lambda numbers: numbers.index_select(args[1], args[2])
    if name in PUTS:
        return lambda numbers: torch.ops.aten.index.Tensor(numbers, args[1])
    return lambda numbers: func(numbers, *args[1:])
