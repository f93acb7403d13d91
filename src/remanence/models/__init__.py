"""Whole models: what goes in, a memory, what comes out."""

from remanence.models.sequence import SequenceModel

__all__ = ["SequenceModel"]
