"""The most memory that a run takes."""

from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # what Linux takes for: forget the peak of the resident memory


_from_then = False


def forget_peak() -> None:
    """Measure from now on, where the system lets us."""
    global _from_then
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError:  # not Linux, or a container that forbids it
        _from_then = False
    else:
        _from_then = True


def peak_mib() -> float | None:
    """The largest memory since :func:`forget_peak`, in MiB; None where the system does not say.

    That of the GPU if there is one, else that of the process with all its libraries.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if not _from_then:
        return None
    lines = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return next((int(line.split()[1]) / 2**10 for line in lines), None)
