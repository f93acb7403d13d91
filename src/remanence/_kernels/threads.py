"""Runs a kernel on several threads: PyTorch's OpenMP threads, or a pool of our own where these would hang."""

import ctypes
import functools
import os
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from remanence._kernels.kernel import Kernel

_forked = False


def run(kernel: Kernel, block: int, threads: int) -> None:
    """Call a kernel on several threads, each with the address of the argument block, and wait until all are done."""
    if threads == 1:
        kernel.call(block)
    elif _forked or (parallel := _find_gomp_parallel()) is None:
        pool = _get_pool(os.getpid())
        others = [pool.submit(kernel.call, block) for _ in range(threads - 1)]
        kernel.call(block)
        wait(others)
    else:
        parallel(kernel.address, block, threads, 0)


@functools.cache
def _find_gomp_parallel() -> Any:
    """Return ``GOMP_parallel`` of PyTorch's GNU OpenMP, whose threads are already running; None if it has another."""
    packages = Path(torch.__file__).parent.parent
    for path in (*packages.glob("torch/lib/libgomp*"), *packages.glob("torch.libs/libgomp*")):
        try:
            function = ctypes.CDLL(str(path)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        function.restype = None
        return function
    return None


@functools.cache
def _get_pool(process: int) -> ThreadPoolExecutor:
    """Return this process's thread pool; threads do not survive a fork, so each process has its own."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="remanence")


def _remember_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    # OpenMP's threads do not survive a fork, and a parallel region in the child hangs.
    os.register_at_fork(after_in_child=_remember_fork)
