"""Files that people download, read safely, checked, and prepared once as arrays that are mapped into memory."""

from remanence.data.source import Progress, Source, prepare, prepared
from remanence.data.store import Store, Writer, directory, load, made

__all__ = ["Progress", "Source", "Store", "Writer", "directory", "load", "made", "prepare", "prepared"]
