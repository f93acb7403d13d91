"""Entering a kernel: its machine code, its threads, its block of addresses."""

import functools
from array import array

import torch
from torch import Tensor

from remanence._kernels import addressing, kernel, threads
from remanence._kernels.source import Source

BITS = {torch.float32: 32, torch.float64: 64}


def refuses(like: Tensor) -> str | None:
    """Why no kernel for CPUs can run on tensors like this, or None."""
    if like.device.type == "cpu" and like.dtype in BITS:
        return None
    return f"it computes in float32 and float64 on the CPU, and the tensors are {like.dtype} on {like.device}"


def lane_count(dtype: torch.dtype) -> int:
    """Numbers in one vector register."""
    return kernel.register(BITS[dtype])


def part_count(units: int) -> int:
    """In how many parts so many units of work are shared out."""
    return max(1, min(torch.get_num_threads(), units))


def enter(source: Source, dtype: torch.dtype, units: int, *values: Tensor | int, lanes: int | None = None) -> None:
    """Run a kernel over so many units.

    Args:
        source: the function; its first three arguments are filled in by the threads.
        dtype: of all its numbers.
        units: of work.
        values: the other arguments, in order; of a tensor its address.
        lanes: numbers in a vector; default: :func:`lane_count`.
    """
    if why := addressing.refuses_memory(value for value in values if isinstance(value, Tensor)):
        raise RuntimeError(f"a kernel cannot read what it was given: {why}")
    parts = part_count(units)
    block = array("q", [0, parts, units, *(v if isinstance(v, int) else v.data_ptr() for v in values)])
    threads.run(_built(source, BITS[dtype], lanes or lane_count(dtype)), block.buffer_info()[0], parts)


@functools.lru_cache(maxsize=64)
def _built(source: Source, bits: int, lanes: int) -> kernel.Kernel:
    return kernel.build(source, bits, lanes)
