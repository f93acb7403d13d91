"""Files that people download, read safely, checked, and prepared once as arrays that are mapped into memory."""

from remanence.data.source import Source, prepare, prepared
from remanence.data.store import Progress, Store, Writer, directory, load, made, watched

__all__ = ["Progress", "Source", "Store", "Writer", "directory", "load", "made", "prepare", "prepared", "watched"]
