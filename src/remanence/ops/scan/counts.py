"""Statistics of the ``"newton"`` and ``"associative"`` backends: calls, iterations, and fallbacks to the loop."""

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Statistics:
    """Statistics of the ``"newton"`` and ``"associative"`` backends, since the start or :func:`reset_scan_statistics`.

    Attributes:
        calls: number of forward passes.
        iterations: number of Newton iterations in all calls; each solves one linear recurrence.
        fallbacks: number of passes that the fused loop computed instead, by reason: ``"not converged"``,
            ``"not finite"`` and ``"ill-conditioned"`` in forward passes; ``"associative"`` in forward passes, and
            ``"gradients"`` in backward passes, in which the linear scan lost its accuracy.
    """

    calls: int = 0
    iterations: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)


_LOCK = threading.Lock()
_TOTALS = Statistics()


def scan_statistics() -> Statistics:
    """Return a copy of the statistics so far.

    Returns:
        The number of calls and iterations, and of fallbacks by reason.

    Example:
        >>> import torch
        >>> from remanence import reset_scan_statistics, scan, scan_statistics
        >>> reset_scan_statistics()
        >>> step = lambda state, inputs, params: (0.5 * state[0] + inputs[0],)
        >>> _ = scan(step, [torch.ones(1, 64, 2)], [torch.zeros(1, 2)], backend="newton")
        >>> scan_statistics().calls
        1
    """
    with _LOCK:
        return Statistics(_TOTALS.calls, _TOTALS.iterations, Counter(_TOTALS.fallbacks))


def reset_scan_statistics() -> None:
    """Reset the statistics to zero.

    Example:
        >>> from remanence import reset_scan_statistics, scan_statistics
        >>> reset_scan_statistics()
        >>> scan_statistics().calls
        0
    """
    with _LOCK:
        _TOTALS.calls = _TOTALS.iterations = 0
        _TOTALS.fallbacks.clear()


def count(*, calls: int = 0, iterations: int = 0, fallback: str | None = None) -> None:
    """Add to the statistics."""
    with _LOCK:
        _TOTALS.calls += calls
        _TOTALS.iterations += iterations
        if fallback is not None:
            _TOTALS.fallbacks[fallback] += 1
