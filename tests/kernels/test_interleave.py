"""The lines that turn a block round, for vectors of any CPU."""

import numpy as np
import pytest

from remanence._kernels.interleave import write_transpose


@pytest.mark.parametrize("lanes", [2, 4, 8, 16, 32])
def test_rows_become_columns(lanes):
    block = np.arange(lanes**2).reshape(lanes, lanes)
    half = lanes // 2
    names = {f"x{i}": row for i, row in enumerate(block)}
    names["interleave_low"] = lambda x, y: np.stack([x[:half], y[:half]], 1).ravel()
    names["interleave_high"] = lambda x, y: np.stack([x[half:], y[half:]], 1).ravel()
    exec(write_transpose(lanes), names)
    assert np.array_equal([names[f"x{i}"] for i in range(lanes)], block.T)
