"""How often the search for a whole trajectory was tried, what it took, and when the loop ran instead."""

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Statistics:
    """Of the ``"newton"`` backend, since the start or :func:`reset_scan_statistics`.

    Attributes:
        calls: forward passes.
        iterations: Newton iterations in all of them together; one is one linear recurrence solved.
        fallbacks: how many passes the fused loop ran instead, by reason: ``"not converged"``, ``"not finite"``,
            ``"ill-conditioned"`` (forwards), ``"gradients"`` (backwards, where the linear scan lost its accuracy).
    """

    calls: int = 0
    iterations: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)


_LOCK = threading.Lock()
_TOTALS = Statistics()


def scan_statistics() -> Statistics:
    """The numbers so far, as a copy."""
    with _LOCK:
        return Statistics(_TOTALS.calls, _TOTALS.iterations, Counter(_TOTALS.fallbacks))


def reset_scan_statistics() -> None:
    """Count from zero again."""
    with _LOCK:
        _TOTALS.calls = _TOTALS.iterations = 0
        _TOTALS.fallbacks.clear()


def count(*, calls: int = 0, iterations: int = 0, fallback: str | None = None) -> None:
    """Add to the numbers."""
    with _LOCK:
        _TOTALS.calls += calls
        _TOTALS.iterations += iterations
        if fallback is not None:
            _TOTALS.fallbacks[fallback] += 1
