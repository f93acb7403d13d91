"""Unitary matrices over time: rotations of pairs of coordinates, or a dense matrix."""
