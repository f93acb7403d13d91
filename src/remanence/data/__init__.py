"""Downloaded files: read safely, verified, and prepared once as memory-mapped arrays."""

from remanence.data.source import Source, load_prepared, prepare
from remanence.data.store import Progress, Store, Writer, directory, load, load_or_make, report_progress

__all__ = [
    "Progress",
    "Source",
    "Store",
    "Writer",
    "directory",
    "load",
    "load_or_make",
    "load_prepared",
    "prepare",
    "report_progress",
]
