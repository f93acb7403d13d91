"""Every operation of a graph as the CPU backend computes it, at the edges of the numbers too, beside PyTorch."""

import math

import llvmlite.binding as llvm
import pytest
import torch

from remanence._kernels import entry, targets
from remanence._kernels.operations import OPERATIONS
from remanence.ops.scan import scan

FAMILY = targets.family(llvm.get_process_triple())
NUMERIC = [row for row in OPERATIONS.values() if not row.takes_booleans and row.name != "where"]
NAMES = [*(row.name for row in NUMERIC), "where", "and", "or", "xor", "not"]
ULPS = {"tanh": 4, "sigmoid": 6, "expm1": 4, "log1p": 4}
"""Errors allowed, in units in the last place; 2 where nothing is said. PyTorch's own are up to 1."""


def step(state, inputs, params):
    x, y = inputs
    both = (x > 0) & ~(y > 0), (x > 0) | (y > 0), torch.logical_xor(x > 0, y > 0), ~(x > 0)
    results = [row.function(*(x, y)[: row.operands]) for row in NUMERIC]
    return tuple(each.to(x.dtype) for each in (*results, torch.where(x > y, x, y), *both))


def test_the_table_is_covered():
    assert {*NAMES} == {*OPERATIONS}


def special(dtype):
    info = torch.finfo(dtype)
    powers = [info.tiny, info.tiny / 4, info.smallest_normal * 1.5, info.eps, 1e-20, 1e4, 1e30, info.max, math.inf]
    edges = [87.0, 87.33, 88.7, 88.73, 103.0, 104.5, 708.0, 709.78, 745.0, 746.0, 20.0, 17.3, 9.0, 5.5, 4.0, 0.927]
    halves = [0.0, 0.5, 1.0, 1.5, 2.5, 3.0, math.log(2) / 2, math.pi / 2]
    positive = torch.tensor([*powers, *edges, *halves], dtype=dtype)
    return torch.cat([positive, -positive, torch.tensor([math.nan], dtype=dtype)])


def drawn(dtype):
    edges = special(dtype)
    info = torch.finfo(dtype)
    everywhere = torch.logspace(math.log10(info.tiny) + 0.1, math.log10(info.max) - 0.1, 3000, dtype=dtype)
    scales = torch.cat([torch.logspace(-8, 3, 3000, dtype=dtype), everywhere])
    normal = torch.randn(2, 6000, generator=torch.Generator().manual_seed(1), dtype=dtype)
    x = torch.cat([edges.repeat_interleave(len(edges)), scales * normal[0]])
    y = torch.cat([edges.repeat(len(edges)), normal[1]])
    whole = len(x) // 33 * 33
    return normal_or_0(x[:whole].view(1, -1, 33)), normal_or_0(y[:whole].view(1, -1, 33))


def normal_or_0(x):
    """Numbers too small to be normal as 0, as kernels take and give them."""
    return torch.where(x.abs() < torch.finfo(x.dtype).smallest_normal, x.sign() * 0.0, x)


def ordered(x):
    """Numbers as whole numbers, neighbours one apart."""
    bits = x.view(torch.int32 if x.dtype == torch.float32 else torch.int64).long()
    lowest = torch.iinfo(torch.int32 if x.dtype == torch.float32 else torch.int64).min
    return torch.where(bits < 0, lowest - bits, bits)


@pytest.fixture(scope="module", params=[torch.float32, torch.float64])
def computed(request):
    """Operands, results, what PyTorch gives, and what it gives in float64, of every operation."""
    x, y = drawn(request.param)
    state = [torch.zeros(1, 33, dtype=request.param)] * len(NAMES)
    ours = scan(step, [x, y], state, [], backend="cpu")[0]
    theirs, exact = step((), (x, y), ()), step((), (x.double(), y.double()), ())
    exact = [normal_or_0(value.to(x.dtype)) for value in exact]
    return x, y, dict(zip(NAMES, zip(ours, theirs, exact, strict=True), strict=True))


@pytest.mark.parametrize("op", NAMES)
def test_operation(computed, op):
    x, y, results = computed
    ours, theirs, exact = results[op]
    torch.testing.assert_close(ours.isnan(), theirs.isnan(), msg=f"NaN at {x[ours.isnan() != theirs.isnan()][:5]}")
    infinite = ours.isinf() | exact.isinf()
    assert torch.equal(ours[infinite], exact[infinite]) or op in ("round", "sub")
    finite = ours.isfinite() & exact.isfinite()
    if op == "sigmoid":  # below the normal numbers it is 0, as PyTorch's own soon after
        finite &= x > (-87.0 if x.dtype == torch.float32 else -708.0)
        assert ours[(x < -87.4) & (x.dtype == torch.float32)].eq(0).all()
    apart = (ordered(ours) - ordered(exact)).abs() * finite
    worst = apart.argmax()
    where = f"{x.flatten()[worst]:.9g}, {y.flatten()[worst]:.9g}: {ours.flatten()[worst]} for {exact.flatten()[worst]}"
    assert apart.max() <= ULPS.get(op, 2), where


def double(state, inputs, params):
    return (2 * inputs[0],)


@pytest.mark.skipif(FAMILY not in entry.FLUSH, reason="nothing is known about such a processor")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_too_small_to_be_normal_count_as_0_in_a_kernel_and_nowhere_else(dtype):
    tiny = torch.full((1, 1, 3), torch.finfo(dtype).smallest_normal / 4, dtype=dtype)
    (result,), _ = scan(double, [tiny], [tiny[0]], [], backend="cpu")
    assert (result == 0).all()
    assert (2 * tiny > 0).all()


def test_signs_of_zero(computed):
    x, _, results = computed
    for op in ("expm1", "log1p", "tanh", "sin", "erf", "atan", "neg", "sqrt"):
        ours, theirs, _ = results[op]
        assert torch.equal(torch.signbit(ours[x == 0]), torch.signbit(theirs[x == 0])), op


def undefined(state, inputs, params):
    """Constants that are no numbers, and operations on constants alone."""
    x = torch.nn.functional.celu(inputs[0], 3.0)
    return torch.where(x > 0, math.inf, x * math.nan), torch.clamp(x, -math.inf, 0.25)


def test_constants():
    x = torch.randn(2, 3, 5)
    got = scan(undefined, [x], [torch.zeros(2, 5)] * 2, [], backend="cpu")
    torch.testing.assert_close(
        got, scan(undefined, [x], [torch.zeros(2, 5)] * 2, [], backend="reference"), equal_nan=True
    )
