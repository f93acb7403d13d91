"""One step of a memory, in PyTorch, as a fused loop over time.

``trace`` records a pointwise step as a ``pointwise_graph``. ``cpu_source`` and ``gpu_source`` write the step and its
derivative as loops, which ``cpu`` and ``gpu`` run; ``associative`` (linear steps) and ``newton`` solve for all time
steps at once. ``tensors`` runs steps on tensors of any shape, on CPUs. ``operation`` chooses. ``online_scan`` carries
gradients along streams.
"""

from remanence.ops.dispatch import UntraceableWarning
from remanence.ops.scan.counts import Statistics, reset_scan_statistics, scan_statistics
from remanence.ops.scan.online_scan import OnlineState, scan_online
from remanence.ops.scan.operation import scan, scan_source

__all__ = [
    "OnlineState",
    "Statistics",
    "UntraceableWarning",
    "reset_scan_statistics",
    "scan",
    "scan_online",
    "scan_source",
    "scan_statistics",
]
