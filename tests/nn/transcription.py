"""What tests against a transcription of a paper's equations share."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def assert_gradients_equal_differences(layer: torch.nn.Module, y: Tensor, run: Callable[[], np.ndarray]) -> None:
    """Compare gradients of a weighted sum of outputs by some of each parameter with differences of the transcription.

    Args:
        layer: its parameters are moved, and moved back.
        y: its output.
        run: computes the same in NumPy, from the parameters as they are.
    """
    weights = np.random.default_rng(0).normal(size=y.shape)
    grads = torch.autograd.grad((y * torch.from_numpy(weights)).sum(), list(layer.parameters()))
    for parameter, grad in zip(layer.parameters(), grads, strict=True):
        flat = parameter.data.view(-1)
        for place in {0, len(flat) // 2, len(flat) - 1}:
            values, kept = [], flat[place].item()
            for moved in (kept + 1e-6, kept - 1e-6):
                flat[place] = moved
                values.append((run() * weights).sum())
            flat[place] = kept
            difference = (values[0] - values[1]) / 2e-6
            np.testing.assert_allclose(grad.reshape(-1)[place], difference, rtol=1e-5, atol=1e-6)
