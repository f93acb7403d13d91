import math

import numpy as np
import pytest
import torch
from scipy.special import erf

from remanence.analysis import FastMemory, capacity_curve
from remanence.nn import FastWeights

SIZE, RATIOS = 200, [0.05, 0.1, 0.2, 0.4]


def expected_overlap(count, λ, d):
    """Of one reading: crosstalk is normal, its diagonal part multiplies the cue itself; the mean over all ages."""
    powers = λ ** np.arange(count)
    overlaps = []
    for age in range(count):
        others = np.delete(powers, age)
        signal, diagonal = powers[age] * (1 - 2 * d), others.sum() / SIZE
        width = math.sqrt(2 * (others**2).sum() / SIZE)
        right, wrong = erf((signal + diagonal) / width), erf((signal - diagonal) / width)
        overlaps.append((1 - d) * right + d * wrong)
    return np.mean(overlaps)


@pytest.mark.parametrize("λ", [1.0, 0.95])
@pytest.mark.parametrize("distortion", [0.0, 0.2])
def test_capacity_is_what_signal_and_crosstalk_say(λ, distortion):
    layer = FastWeights(1, SIZE, decay=λ)
    curve = capacity_curve(lambda: FastMemory(layer), SIZE, RATIOS, distortion=distortion, trials=10)
    expected = [expected_overlap(round(ratio * SIZE), λ, distortion) for ratio in RATIOS]
    np.testing.assert_allclose(curve.overlaps.mean(1), expected, atol=0.02)


def test_holds_the_matrix_of_the_layer():
    layer = FastWeights(3, 6, decay=0.8).double()
    y, (_, A) = layer(torch.randn(1, 7, 3).double())
    memory = FastMemory(layer)
    memory.store(y[0, :4].detach())
    memory.store(y[0, 4:].detach())
    torch.testing.assert_close(memory.weight, A[0].detach())
    torch.testing.assert_close(memory(y[0]), y[0] @ A[0].T, check_dtype=True)


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match=r"\[patterns, 4\].*\[2, 3\]"):
        FastMemory(FastWeights(1, 4)).store(torch.ones(2, 3))
