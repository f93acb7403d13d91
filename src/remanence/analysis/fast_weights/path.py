"""The trajectory of a fast weights layer, with every inner step of every time step."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from remanence.errors import UserError
from remanence.nn.fast_weights import FastWeights


class Path(NamedTuple):
    """A trajectory; (h, A) is the state before each step.

    Attributes:
        h: hidden states, [batch, time, hidden].
        A: fast weights, [batch, time, hidden, hidden].
        iterates: h⁰ ... h^n within each step; the one at index S is the layer's output.
        drives: the arguments of f(LN(·)), W h + C x + b + A h^{s-1}, one for each iterate.
    """

    h: Float[Tensor, "batch time hidden"]
    A: Float[Tensor, "batch time hidden hidden"]
    iterates: Float[Tensor, "batch time iterates hidden"]
    drives: Float[Tensor, "batch time iterates hidden"]


@torch.no_grad()
def trace_path(layer: FastWeights, x: Float[Tensor, "batch time input"], iterations: int | None = None) -> Path:
    """Run the layer from its initial state and keep all intermediate values.

    Args:
        layer: the layer.
        x: the input, [batch, time, input].
        iterations: number of inner steps to compute, at least the layer's ``inner_steps`` (which alone determine the
            output); default: ``inner_steps``.

    Raises:
        ValueError: the layer is not a :class:`remanence.nn.FastWeights`, the input has a wrong shape, there are too few
            iterations, or values overflow.
    """
    S = _check_arguments(layer, x, iterations)
    (h, A), states, loops = layer.initial_state(len(x)), [], []
    for x_t in x.unbind(1):
        iterates = layer.inner_loop(x_t, (h, A), S if iterations is None else iterations)
        states.append((h, A))
        loops.append(iterates)
        h = iterates[:, S]
        A = layer.write(A, h)
    _refuse_overflow(states)
    before, fast = (torch.stack(parts, 1) for parts in zip(*states, strict=True))
    iterates = torch.stack(loops, 1)
    boundary = nn.functional.linear(x, layer.weight_ih, layer.bias) + nn.functional.linear(before, layer.weight_hh)
    read = torch.einsum("btij,btsj->btsi", fast, iterates[:, :, :-1])
    drives = boundary[:, :, None] + torch.cat([torch.zeros_like(read[:, :, :1]), read], 2)
    return Path(before, fast, iterates, drives)


def _check_arguments(layer: FastWeights, x: Tensor, iterations: int | None) -> int:
    if not isinstance(layer, FastWeights):
        raise UserError(f"expected a remanence.nn.FastWeights layer, got {type(layer).__name__}")
    if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] != layer.input_size or x.dtype != layer.weight_ih.dtype:
        raise UserError(
            f"expected x [batch, time, {layer.input_size}] of {layer.weight_ih.dtype} with at least one step, "
            f"got {list(x.shape)} of {x.dtype}"
        )
    if iterations is not None and iterations < layer.inner_steps:
        raise UserError(f"iterations must be at least the layer's inner_steps, {layer.inner_steps}; got {iterations}")
    return layer.inner_steps


def _refuse_overflow(states: list[tuple[Tensor, Tensor]]) -> None:
    for t, (_, A) in enumerate(states):
        if not bool(torch.linalg.matrix_norm(A).isfinite().all()):
            raise UserError(
                f"the fast weights grow beyond the range of {A.dtype} before step {t} of the trajectory: use "
                "layer_norm=True, a smaller decay or fast_learning_rate, or a shorter or smaller input"
            )
