"""A run on disk: its configuration, its files, the lock on its folder, its result."""

from remanence.extras import require_extra

with require_extra("train", "remanence.runs"):
    from remanence.runs.claims import claim
    from remanence.runs.config import RunConfig
    from remanence.runs.folder import RunFolder
    from remanence.runs.reading import Run, load
    from remanence.runs.result import Result

__all__ = ["Result", "Run", "RunConfig", "RunFolder", "claim", "load"]
