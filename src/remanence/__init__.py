"""Recurrent memories for PyTorch: build them, train them fast, compare them fairly, see why they remember or forget."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers; at run time __getattr__ loads what is used
    from remanence import analysis, inspection, models, nn, report, tasks, training, wiring
    from remanence.ops.scan import (
        OnlineState,
        Statistics,
        UntraceableWarning,
        reset_scan_statistics,
        scan,
        scan_online,
        scan_source,
        scan_statistics,
    )

__version__ = "0.1.0"
__all__ = [
    "OnlineState",
    "Statistics",
    "UntraceableWarning",
    "analysis",
    "inspection",
    "models",
    "nn",
    "report",
    "reset_scan_statistics",
    "scan",
    "scan_online",
    "scan_source",
    "scan_statistics",
    "tasks",
    "training",
    "wiring",
]
_OF_SCAN = {name for name in __all__ if "scan" in name} | {"OnlineState", "Statistics", "UntraceableWarning"}


def __getattr__(name: str) -> Any:
    # Parts load when first used, so that `import remanence` stays as light as `import torch`.
    if name in _OF_SCAN:
        return getattr(importlib.import_module("remanence.ops.scan"), name)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
