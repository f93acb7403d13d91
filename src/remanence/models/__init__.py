"""Complete models: input layers, a memory or attention, readout."""

from remanence.models.sequence import SequenceModel
from remanence.models.transformer import Transformer

__all__ = ["SequenceModel", "Transformer"]
