"""Random scans: steps drawn from the operations that a graph may hold, shapes, dtypes, and which gradients count."""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from hypothesis import strategies as st

import remanence
from remanence._kernels.operations import OPERATIONS

RANGES = {
    "exp": lambda x: -x.abs(),
    "log": lambda x: x.abs() + 0.1,
    "log1p": torch.abs,
    "expm1": torch.tanh,
    "sqrt": lambda x: x.abs() + 0.01,
    "div": lambda x: x.abs() + 0.5,
    "pow": lambda x: x.abs() + 0.1,
}
"""What brings the (last) operand of an operation to where it is smooth and does not overflow."""

JUMPS = ("floor", "ceil", "trunc", "round", "sign")
"""Rounding may take them to the other side; tests of single operations have them."""


def within_range(row, *operands):
    if row.name == "pow":
        return row.function(RANGES["pow"](operands[0]), torch.tanh(operands[1]))
    *others, last = operands
    return row.function(*others, RANGES.get(row.name, lambda x: x)(last))


def of_the_table(operands):
    """Its operations on numbers of so many operands; those on truth values are in "where", "both" and the like."""
    rows = [row for row in OPERATIONS.values() if row.operands == operands and not row.is_boolean]
    return {row.name: partial(within_range, row) for row in rows if row.name not in JUMPS}


UNARY = {
    **of_the_table(1),
    "square": torch.square,
    "rsqrt": lambda x: torch.rsqrt(x.abs() + 0.5),
    "reciprocal": lambda x: 1 / (x.abs() + 0.5),
    "power": lambda x: (x.abs() + 0.1) ** 1.7,
    "exponential": lambda x: 1.5 ** torch.tanh(x),
    "softplus": F.softplus,
    "relu": F.relu,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.2),
    "elu": partial(F.elu, alpha=0.7),
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "logsigmoid": F.logsigmoid,
    "hardtanh": F.hardtanh,
    "clamp": lambda x: x.clamp(-0.8, 1.1),
    "scale": lambda x: 0.7 * x - 0.3,
    "mask": lambda x: (x > 0.1).to(x.dtype) * x,
}
BINARY = {
    **of_the_table(2),
    "where": lambda x, y: torch.where(x > y, x * y, y - x),
    "both": lambda x, y: torch.where((x > 0) & ~(y < 0.2), x, y),
    "either": lambda x, y: torch.where((x > 0) | (y < 0.2), x, y),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=0.5),
}


def evaluate(expression, values):
    """The value of a nested tuple: (operation, operands...) or (kind, index)."""
    op, *operands = expression
    if op in values:
        return values[op][operands[0]]
    function = UNARY[op] if op in UNARY else BINARY[op]
    return function(*(evaluate(operand, values) for operand in operands))


def run_step(expressions, sub_steps, state, inputs, params):
    """A step made of expressions, bounded so that nothing blows up over time."""
    for _ in range(sub_steps):
        values = {"state": state, "input": inputs, "param": params}
        state = tuple(torch.tanh(evaluate(expression, values) + 0 * state[0]) for expression in expressions)
    return state


@dataclass(frozen=True)
class Problem:
    """A scan to compare."""

    expressions: tuple
    sub_steps: int
    counts: tuple[int, int, int]
    shape: tuple[int, int, int]
    dtype: torch.dtype
    needs: tuple[bool, ...]
    seed: int
    device: str = "cpu"

    @property
    def step(self):
        return partial(run_step, self.expressions, self.sub_steps)

    def tensors(self):
        """Inputs, state and params, the same each time, requiring gradients where the problem says so."""
        generator = torch.Generator().manual_seed(self.seed)
        batch, time, channels = self.shape
        states, inputs, params = self.counts
        shapes = [(batch, channels)] * states + [(batch, time, channels)] * inputs + [(channels,)] * params
        drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        drawn = [tensor.to(self.device, self.dtype) for tensor in drawn]
        for tensor, need in zip(drawn, self.needs, strict=True):
            tensor.requires_grad_(need)
        return drawn[states : states + inputs], drawn[:states], drawn[states + inputs :]


def expressions(states, inputs, params):
    leaves = st.one_of(
        st.tuples(st.just("state"), st.integers(0, states - 1)),
        st.tuples(st.just("input"), st.integers(0, inputs - 1)),
        *([st.tuples(st.just("param"), st.integers(0, params - 1))] if params else []),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(sorted(UNARY)), inner), st.tuples(st.sampled_from(sorted(BINARY)), inner, inner)
        ),
        max_leaves=5,
    )


@st.composite
def problems(draw, dtypes=(torch.float32, torch.float64), max_states=3):
    counts = draw(st.tuples(st.integers(1, max_states), st.integers(1, 3), st.integers(0, 3)))
    return Problem(
        expressions=tuple(draw(expressions(*counts)) for _ in range(counts[0])),
        sub_steps=draw(st.integers(1, 3)),
        counts=counts,
        shape=draw(st.tuples(st.integers(1, 4), st.integers(1, 6), st.sampled_from([1, 2, 3, 7, 16, 17, 33]))),
        dtype=draw(st.sampled_from(dtypes)),
        needs=tuple(draw(st.lists(st.booleans(), min_size=sum(counts), max_size=sum(counts)))),
        seed=draw(st.integers(0, 2**16)),
    )


def results(problem, backend, **options):
    """States, final states and the gradients that are asked for, of a loss that weighs each of them differently."""
    inputs, state, params = problem.tensors()
    states, final = remanence.scan(problem.step, inputs, state, params, backend=backend, **options)
    outputs = [*states, *final]
    wanted = [tensor for tensor in (*state, *inputs, *params) if tensor.requires_grad]
    if not wanted:
        return outputs
    # where no output depends on what is wanted:
    zero = torch.zeros((), dtype=problem.dtype, device=problem.device, requires_grad=True)
    loss = sum((torch.cos(x * (index + 1))).sum() for index, x in enumerate(outputs)) + zero
    grads = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    return [*outputs, *grads]


def assert_same(problem, backend, rtol=None, atol=None, **options):
    """The backend's values and gradients are the reference's."""
    default = 2e-4 if problem.dtype == torch.float32 else 1e-9
    expected = results(problem, "reference")
    for ours, theirs in zip(results(problem, backend, **options), expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=rtol or default, atol=atol or default)
