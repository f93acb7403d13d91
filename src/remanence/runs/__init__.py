"""A run on disk: what it is made of, where its files lie, who holds it, what came of it."""

from remanence.extras import require_extra

with require_extra("train", "remanence.runs"):
    from remanence.runs.claim import claim
    from remanence.runs.config import RunConfig
    from remanence.runs.folder import RunFolder
    from remanence.runs.reading import Run, load
    from remanence.runs.result import Result

__all__ = ["Result", "Run", "RunConfig", "RunFolder", "claim", "load"]
