"""Memory for results, kept for the next call of the same size: fresh pages cost more than the loops that fill them."""

import mmap
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALLEST = 2**16
"""Bytes from which on it pays."""

KEPT = 2**27
"""How many bytes may lie idle."""

HUGE = 2**22
"""Bytes from which on memory comes in huge pages where the system has them: one fault for what else takes 512."""

DTYPES: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float64: np.float64}

_idle: dict[int, list[np.ndarray]] = {}


class _Loan(np.ndarray):
    """An array that gives its memory back once the tensor made of it, and every view of that, is gone."""

    def __del__(self) -> None:
        if isinstance(self.base, np.ndarray):
            _give_back(self.base)


def allocate(*shape: int, dtype: torch.dtype) -> Tensor:
    """A tensor of whatever was in its memory before."""
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
            _huge(size) if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE") else empty(size, dtype=torch.uint8).numpy()
        )
    return torch.from_numpy(np.ndarray.__new__(_Loan, shape, DTYPES[dtype], memory))


def _huge(size: int) -> np.ndarray:
    """Fresh memory, private to this process and to what it forks."""
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)


def _give_back(memory: np.ndarray) -> None:
    if memory.nbytes > KEPT:
        return
    if memory.nbytes + sum(size * len(arrays) for size, arrays in list(_idle.items())) > KEPT:
        _idle.clear()
    _idle.setdefault(memory.nbytes, []).append(memory)
