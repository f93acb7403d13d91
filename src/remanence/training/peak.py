"""The most memory that a run takes."""

from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # what Linux takes for: forget the peak of the resident memory
PEAK = "VmHWM:"

_forgotten = False


def forget_peak() -> None:
    """Measure from now on."""
    global _forgotten
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        CLEAR.write_text(RESET_PEAK, encoding="ascii")
        _forgotten = True
    except OSError:  # not Linux, or one that does not let us: a figure less is no reason not to train
        _forgotten = False


def measure_peak_mib() -> float | None:
    """Return the peak memory since :func:`forget_peak`, in MiB; None where the system does not report it.

    That of the GPU if there is one, else that of the process with all its libraries.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if not _forgotten:
        return None
    try:
        lines = STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    sizes = (int(line.split()[1]) for line in lines if line.startswith(PEAK))  # in KiB
    return next((size / 2**10 for size in sizes), None)
