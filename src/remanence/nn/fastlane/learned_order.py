"""Learning an order of firing from data, with fixed weights."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from remanence.nn.fastlane.layer import Fastlane


@torch.no_grad()
def learn_order(layer: Fastlane, loss: Callable[[], Tensor | float], *, trials: int, seed: int = 0) -> list[float]:
    """Search for the order of firing with the lowest loss, and set it in the layer.

    Hill climbing: a random neuron moves to another position in the order and stays there if the loss does not increase.
    Weights do not change, so training may continue afterwards.

    Args:
        layer: the layer whose order is changed.
        loss: a function that computes the loss of the layer, always on the same data.
        trials: number of moves to try; each one calls ``loss`` once.
        seed: the seed of the moves; default: 0.

    Returns:
        The loss before the first trial and after each trial; it never increases.

    Example:
        >>> layer = Fastlane(2, 6)
        >>> x, target = torch.randn(4, 10, 2), torch.randn(4, 10, 6)
        >>> losses = learn_order(layer, lambda: (layer(x)[0] - target).square().mean(), trials=20)
        >>> losses[-1] <= losses[0]
        True
    """
    rng = np.random.default_rng(seed)
    order = layer.schedule.order
    losses = [float(loss())]
    for _ in range(trials):
        moved, place = rng.integers(len(order), size=2)
        other = np.insert(np.delete(order, moved), place, order[moved])
        layer.fire_in(other)
        found = float(loss())
        better = found <= losses[-1]
        order = other if better else order
        losses.append(found if better else losses[-1])
    layer.fire_in(order)
    return losses
