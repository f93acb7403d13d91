"""Recurrent memories for PyTorch: build them, train them fast, compare them fairly, see why they remember or forget."""

__version__ = "0.1.0"
