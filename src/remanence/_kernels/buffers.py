"""A pool of buffers for results.

The memory of a result is reused by the next call that needs the same size: fresh pages cost more than the loops that
fill them.
"""

import mmap
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALLEST = 2**16
"""Smaller buffers, in bytes, are not pooled."""

IDLE_LIMIT = 2**27
"""How many bytes of unused buffers the pool keeps."""

HUGE = 2**22
"""From this many bytes on, a buffer consists of huge pages if the system has them: one page fault instead of 512."""

DTYPES: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float64: np.float64}

_idle: dict[int, list[np.ndarray]] = {}


class _Loan(np.ndarray):
    """An array that returns its memory to the pool once its tensor and all views of that tensor are gone."""

    def __del__(self) -> None:
        if isinstance(self.base, np.ndarray):
            _give_back(self.base)


def allocate(*shape: int, dtype: torch.dtype) -> Tensor:
    """Return an uninitialized tensor, with memory from the pool if it is large enough."""
    empty = torch.empty
    count = 1
    for size in shape:
        count *= size
    size = count * dtype.itemsize
    if size < SMALLEST:
        return empty(shape, dtype=dtype)
    try:
        memory = _idle[size].pop()
    except (KeyError, IndexError):
        memory = (
            _map_pages(size)
            if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE")
            else empty(size, dtype=torch.uint8).numpy()
        )
    return torch.from_numpy(np.ndarray.__new__(_Loan, shape, DTYPES[dtype], memory))


def _map_pages(size: int) -> np.ndarray:
    """Map fresh memory that is private to this process and its forks."""
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)


def _give_back(memory: np.ndarray) -> None:
    if memory.nbytes > IDLE_LIMIT:
        return
    if memory.nbytes + sum(size * len(arrays) for size, arrays in list(_idle.items())) > IDLE_LIMIT:
        _idle.clear()
    _idle.setdefault(memory.nbytes, []).append(memory)
