"""Layers whose step contains matrices: as a scan where that is faster, else as PyTorch computes them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence._kernels import addressing
from remanence.ops import autocast
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.scan import scan
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.trace import Step


def is_compiled(x: Tensor, *others: Tensor, shortest: int = 1) -> bool:
    """Return whether a scan compiles a step with matrices for these tensors, on CPUs in float32 and float64.

    Args:
        x: an input, [batch, time, ...].
        others: state and parameters.
        shortest: time steps from which on that is faster than what PyTorch has, as measured: a call of a scan costs as
            much as some of these.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or autocast.is_on(x.device):
        return False
    return x.shape[1] >= shortest and addressing.refuses((x, *others)) is None


def run_step(
    step: Step,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    params: Sequence[Tensor],
    *,
    shortest: int = 1,
    episodes: Episodes | None = None,
) -> tuple[Tensors, Tensors]:
    """Run :func:`remanence.scan`, without a warning where it is the plain loop: a layer has no other way there.

    Args:
        step: as there.
        inputs: likewise.
        state: likewise.
        params: likewise.
        shortest: time steps from which on it is compiled.
        episodes: likewise.
    """
    backend = "auto" if is_compiled(*inputs, *state, *params, shortest=shortest) else "reference"
    return scan(step, inputs, state, params, backend=backend, **as_options(episodes))
