"""Files that people download, read safely, checked, and prepared once as arrays that are mapped into memory."""

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
