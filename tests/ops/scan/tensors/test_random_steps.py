"""Steps on tensors against the plain loop: values and all gradients."""

import pytest
import torch
from grammar import BINARY, UNARY, assert_same
from grammar_of_tensors import LAYOUT, PRODUCTS, REDUCTIONS, TensorProblem, tensor_problems
from hypothesis import HealthCheck, given, settings

POINTWISE = [*(f"unary {name}" for name in sorted(UNARY)), *(f"binary {name}" for name in sorted(BINARY))]
GROUPS = [POINTWISE[i::6] for i in range(6)]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({**PRODUCTS, **REDUCTIONS, **LAYOUT}))
def test_operation(name):
    """Each alone, on a vector, and on a matrix."""
    program = ((name, 0, 3, 2), (name, 1, 0, 3))
    assert_same(TensorProblem(program, ((6,), (2, 3)), ((3, 4), (5,)), 3, 3, torch.float64, 1), "cpu")


@pytest.mark.parametrize("names", GROUPS, ids=range(len(GROUPS)))
def test_pointwise_operations(names):
    """On what has different shapes, one behind the other."""
    program = tuple((name, number % 3, number, 1) for number, name in enumerate(names))
    assert_same(TensorProblem(program, ((4,), (2, 3)), ((3, 2),), 3, 2, torch.float64, 2), "cpu")


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problem=tensor_problems())
def test_random_steps(problem):
    assert_same(problem, "cpu", checkpoint_every=None if problem.seed % 3 else 2)
