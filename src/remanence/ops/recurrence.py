"""Runs steps with matrix products as a compiled scan where that is faster, and otherwise as a plain loop."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence._kernels import addressing, triton_support
from remanence.ops import autocast
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.scan import scan
from remanence.ops.scan.gpu import DTYPES
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.trace import Step


def is_compiled(x: Tensor, *others: Tensor, shortest: int = 1) -> bool:
    """Return whether a scan compiles a step with matrices for these tensors: on CPUs and on CUDA GPUs.

    Args:
        x: an input, [batch, time, ...].
        others: state and parameters, of any shape.
        shortest: smallest number of time steps at which a scan is faster than PyTorch on a CPU; default: 1. On GPUs,
            where a scan replaces many kernels a step, two steps are always enough.
    """
    if x.device.type != "cuda":
        return is_faster(x, *others, shortest=shortest)
    if addressing.refuses((x, *others)) is not None:
        return False  # before reading the length, which would be that of the example if torch.export records the call
    return x.shape[1] > 1 and triton_support.refuses(x, DTYPES) is None


def is_faster(x: Tensor, *others: Tensor, shortest: int) -> bool:
    """Return whether a scan is faster than the recurrent layers of PyTorch (on GPUs, those of cuDNN are faster).

    Args:
        x: an input, [batch, time, ...].
        others: state and parameters, of any shape.
        shortest: smallest number of time steps at which a scan is faster.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or autocast.is_enabled(x.device):
        return False
    return addressing.refuses((x, *others)) is None and x.shape[1] >= shortest  # the length last, as above


def run_step(
    step: Step,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    params: Sequence[Tensor],
    *,
    shortest: int = 1,
    episodes: Episodes | None = None,
) -> tuple[Tensors, Tensors]:
    """Run :func:`remanence.scan` for a layer, without a warning if the step runs as a plain loop.

    Args:
        step: ``step(state, inputs, params)``, as in :func:`remanence.scan`.
        inputs: inputs of the step, [batch, time, ...] each.
        state: state before the first step, [batch, ...] each.
        params: parameters of the step, of any shape.
        shortest: number of time steps from which on the step is compiled on a CPU; default: 1.
        episodes: where samples are reset and end; default: nowhere.

    Returns:
        The states after every step, [batch, time, ...] each, and the state after the last real step.
    """
    backend = "auto" if is_compiled(*inputs, *state, *params, shortest=shortest) else "reference"
    return scan(step, inputs, state, params, backend=backend, **as_options(episodes))
