"""Meshes: the pairs of coordinates that each layer of rotations turns."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor


class Mesh(NamedTuple):
    """Layers of pairs; no coordinate is in two pairs of a layer.

    Attributes:
        places: for each rotation, first layer first, the flat positions of its two coordinates in ``partner``.
        partner: for each layer the coordinate that each one is paired with; itself if it is not rotated.
    """

    places: Int64[Tensor, "rotations 2"]
    partner: Int64[Tensor, "layers hidden"]


def tunable_mesh(hidden: int, capacity: int) -> Mesh:
    """Build layers that rotate neighbours: (0, 1), (2, 3), ..., and in every second layer (1, 2), (3, 4), ..."""
    return _mesh(hidden, [np.stack([a := np.arange(layer % 2, hidden - 1, 2), a + 1], 1) for layer in range(capacity)])


def butterfly_mesh(hidden: int) -> Mesh:
    """Build ⌈log₂ hidden⌉ layers, as in a fast Fourier transform: pairs at distance hidden / 2, hidden / 4, ..., 1."""
    everyone, layers = np.arange(hidden), []
    for distance in (2**power for power in reversed(range((hidden - 1).bit_length()))):
        a = everyone[(everyone // distance % 2 == 0) & (everyone + distance < hidden)]
        layers.append(np.stack([a, a + distance], 1))
    return _mesh(hidden, layers)


def _mesh(hidden: int, layers: list[np.ndarray]) -> Mesh:
    partner = np.tile(np.arange(hidden), (len(layers), 1))
    for row, pairs in zip(partner, layers, strict=True):
        row[pairs] = pairs[:, ::-1]
    places = [pairs + layer * hidden for layer, pairs in enumerate(layers)]
    return Mesh(torch.from_numpy(np.concatenate([np.empty((0, 2), np.int64), *places])), torch.from_numpy(partner))
