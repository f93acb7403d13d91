"""The gradients of tensors that all samples share: sums over batch and time."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.tensors.passes import BackwardPass
from remanence.ops.scan.tensors.tensor_graph import size_of

CHUNK = 2**26
"""The most bytes for the factors of gradients of matrices; longer sequences are processed in parts."""

Carried: TypeAlias = Sequence[Tensor | None]
RunSpan: TypeAlias = Callable[[slice, Carried], tuple[Tensors, dict[int, Tensor]]]


class Totals:
    """The totals of a backward pass, from the factors and the sums of its parts."""

    def __init__(self, back: BackwardPass):
        self._back = back
        self._products: dict[int, Tensor] = {}

    def run(
        self,
        batch: int,
        time: int,
        dtype: torch.dtype,
        last: Carried,
        run: RunSpan,
    ) -> Tensors:
        """Run the backward pass, the last part of the sequence first, and multiply the factors of each part.

        Args:
            batch: number of samples.
            time: number of time steps.
            dtype: dtype of the factors.
            last: the gradients of the state after the last step.
            run: computes the steps of a span from the gradients of the state after them; returns those of the state
                before them, and the factors.

        Returns:
            The gradients of the state before the first step.
        """
        graph, carried = self._back.graph, last
        bytes_of_step = batch * dtype.itemsize * sum(size_of(graph.shapes[x]) for x in self._back.factors)
        chunk = max(1, min(time, CHUNK // bytes_of_step)) if bytes_of_step else time
        for start in reversed(range(0, time, chunk)):
            carried, factors = run(slice(start, min(start + chunk, time)), carried)
            for number, total in enumerate(self._back.totals):
                if total.right is not None:
                    product = _sum_products(factors[total.left], factors[total.right])
                    self._products[number] = product + self._products[number] if number in self._products else product
        return tuple(carried)  # type: ignore[arg-type]

    def collect(self, sums: Tensor, places: dict[int, int]) -> list[Tensor]:
        """Return all totals.

        Args:
            sums: the values that are added up, one after another.
            places: where each begins.
        """
        totals = []
        for number, total in enumerate(self._back.totals):
            if total.right is not None:
                totals.append(self._products[number])
            else:
                shape, place = self._back.graph.shapes[total.left], places[total.left]
                totals.append(sums[place : place + size_of(shape)].view(shape))
        return totals


def _sum_products(left: Tensor, right: Tensor) -> Tensor:
    """Sum left x right over batch and time, and over what a sample has in the dimension of the batch."""
    left, right = left.flatten(0, 1), right.flatten(0, 1)
    if left.ndim == 3:
        a = left[:, :, 0].t() if left.shape[2] == 1 else left.permute(1, 0, 2).flatten(1)
        return a @ right.flatten(0, 1)
    return left.permute(1, 2, 0, 3).flatten(2) @ right.permute(1, 0, 2, 3).flatten(1, 2)
