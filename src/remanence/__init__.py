"""Recurrent memories for PyTorch: build them, train them fast, compare them fairly, see why they remember or forget."""

import importlib
from types import ModuleType

__version__ = "0.1.0"
_PARTS = ("analysis", "models", "nn", "report", "scan", "tasks", "training", "wiring")


def __getattr__(name: str) -> ModuleType:
    # Parts load when first used, so that `import remanence` stays as light as `import torch`.
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PARTS])
