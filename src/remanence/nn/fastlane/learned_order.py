"""An order of firing learned from data, with the weights as they are."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from remanence.nn.fastlane.layer import Fastlane


@torch.no_grad()
def learn_order(layer: Fastlane, loss: Callable[[], Tensor | float], *, trials: int, seed: int = 0) -> list[float]:
    """Search for the order in which a trained layer has the lowest loss, and leave it in that order.

    Hill climbing: one neuron, drawn at random, moves to another place in the order; if the loss is not higher than
    before, it stays there. Nothing but the order changes, so train on afterwards.

    Args:
        layer: the layer whose neurons are put in order.
        loss: computes the loss with the layer as it is, each time on the same data.
        trials: moves to try; each costs one call of ``loss``.
        seed: of the moves.

    Returns:
        The loss at the start and after every trial, never rising.

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
