"""Launch a compiled kernel on CPU threads."""

import functools
from array import array

import torch
from torch import Tensor

from remanence._kernels import addressing, kernel, threads
from remanence._kernels.kernel_source import KernelSource

BITS = {torch.float32: 32, torch.float64: 64}


def refuses(like: Tensor) -> str | None:
    """Return why no CPU kernel can run on tensors like this one, or None if one can."""
    if like.device.type == "cpu" and like.dtype in BITS:
        return None
    return f"it computes in float32 and float64 on the CPU, and the tensors are {like.dtype} on {like.device}"


def vector_width(dtype: torch.dtype) -> int:
    """Return how many numbers of a dtype a vector register holds."""
    return kernel.vector_width(BITS[dtype])


def count_parts(units: int) -> int:
    """Return the number of parts into which the units of work are divided, at most one for each thread."""
    return max(1, min(torch.get_num_threads(), units))


def launch(
    source: KernelSource, dtype: torch.dtype, units: int, *values: Tensor | int, block_width: int | None = None
) -> None:
    """Compile a kernel unless it is already compiled, and run it over all units of work.

    Args:
        source: source of the kernel; the threads fill in its first three arguments.
        dtype: dtype of all numbers that the kernel computes with.
        units: number of units of work.
        values: remaining arguments, in order; for a tensor the kernel receives its address.
        block_width: number of numbers that are computed together; default: :func:`vector_width`.
    """
    if why := addressing.refuses_memory(value for value in values if isinstance(value, Tensor)):
        raise RuntimeError(f"a kernel cannot read the tensors that it was given: {why}")
    parts = count_parts(units)
    block = array("q", [0, parts, units, *(v if isinstance(v, int) else v.data_ptr() for v in values)])
    threads.run(_build(source, BITS[dtype], block_width or vector_width(dtype)), block.buffer_info()[0], parts)


@functools.lru_cache(maxsize=64)
def _build(source: KernelSource, bits: int, block_width: int) -> kernel.Kernel:
    return kernel.build(source, bits, block_width)
