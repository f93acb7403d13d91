"""One step of a memory, in PyTorch, as a fused loop over time: ``remanence.scan(step, inputs, state, params)``."""

import sys
from types import ModuleType
from typing import Any

from remanence.scan.counts import Statistics, reset_statistics, statistics
from remanence.scan.dispatch import UntraceableWarning, scan, source

__all__ = ["Statistics", "UntraceableWarning", "reset_statistics", "scan", "source", "statistics"]


class _CallableModule(ModuleType):
    """The module is the function, so that its other functions are found beside it: ``remanence.scan.source``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return scan(*args, **kwargs)


_CallableModule.__call__.__doc__ = scan.__doc__
sys.modules[__name__].__class__ = _CallableModule
