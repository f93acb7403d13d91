"""Triton's kernels of steps on tensors against the plain loop: in Triton's interpreter, and on a GPU if there is one."""

import importlib.util
from dataclasses import replace

import interpreted_libdevice
import pytest
import torch
from grammar import assert_same
from grammar_of_tensors import LAYOUT, PRODUCTS, REDUCTIONS, TensorProblem

from remanence.ops.scan.tensors import gpu

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
needs_gpu = pytest.mark.skipif(not (HAS_TRITON and torch.cuda.is_available()), reason="no CUDA GPU here")
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's, in the interpreter


@pytest.fixture(params=[pytest.param("interpreter", marks=needs_triton), pytest.param("cuda", marks=needs_gpu)])
def device(request, monkeypatch):
    if request.param == "interpreter":
        interpreted_libdevice.use(monkeypatch)
        return "cpu"
    return "cuda"


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """What a kernel should have written and did not is NaN."""
    monkeypatch.setattr(gpu, "_allocate", lambda like, shape, dtype: like.new_full(shape, torch.nan, dtype=dtype))


@pytest.mark.parametrize("name", sorted({**PRODUCTS, **REDUCTIONS, **LAYOUT}))
def test_operation(device, name):
    """Each alone, on a vector, and on a matrix."""
    program = ((name, 0, 3, 2), (name, 1, 0, 3))
    problem = TensorProblem(program, ((6,), (2, 3)), ((3, 4), (5,)), 3, 2, torch.float64, 1)
    assert_same(replace(problem, device=device), "gpu")
