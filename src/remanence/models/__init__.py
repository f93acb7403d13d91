"""Whole models: what goes in, a memory or attention, what comes out."""

from remanence.models.sequence import SequenceModel
from remanence.models.transformer import Transformer

__all__ = ["SequenceModel", "Transformer"]
