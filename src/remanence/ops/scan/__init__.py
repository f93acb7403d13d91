"""One step of a memory, in PyTorch, as a fused loop over time.

``trace`` records what a step computes as a ``graph``; ``cpu_source`` and ``triton_source`` write it and its
derivative as loops, which ``cpu`` and ``gpu`` run; ``newton`` solves for all time steps at once. ``operation``
chooses.
"""

from remanence.ops.dispatch import UntraceableWarning
from remanence.ops.scan.counts import Statistics, reset_scan_statistics, scan_statistics
from remanence.ops.scan.operation import scan, scan_source

__all__ = ["Statistics", "UntraceableWarning", "reset_scan_statistics", "scan", "scan_source", "scan_statistics"]
