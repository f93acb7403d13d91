"""Steps that contain matrix products: run as a scan where that is faster, else as PyTorch computes them."""

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
        others: state and parameters.
        shortest: the fewest time steps for which a scan was measured to be faster than PyTorch on a CPU. On GPUs a
            scan replaces a loop of many kernels a step: one of two steps on.
    """
    if torch.compiler.is_exporting():
        return False  # before the length is looked at, which would then be that of the example
    if x.device.type == "cuda":
        runs = x.shape[1] > 1 and triton_support.refuses(x, DTYPES) is None
    else:
        runs = is_faster(x, shortest=shortest)
    return runs and addressing.refuses((x, *others)) is None


def is_faster(x: Tensor, *others: Tensor, shortest: int) -> bool:
    """Return whether a scan is faster than the recurrent layers of PyTorch, which on GPUs are those of cuDNN.

    Args:
        x: an input, [batch, time, ...].
        others: state and parameters.
        shortest: the fewest time steps for which a scan was measured to be faster.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or autocast.is_enabled(x.device):
        return False
    if torch.compiler.is_exporting():
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
    """Run :func:`remanence.scan` for a layer; it does not warn where the step runs as a plain loop.

    Args:
        step: as in :func:`remanence.scan`.
        inputs: likewise.
        state: likewise.
        params: likewise.
        shortest: time steps from which on it is compiled.
        episodes: likewise.
    """
    backend = "auto" if is_compiled(*inputs, *state, *params, shortest=shortest) else "reference"
    return scan(step, inputs, state, params, backend=backend, **as_options(episodes))
