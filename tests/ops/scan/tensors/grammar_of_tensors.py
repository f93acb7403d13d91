"""Random steps on tensors: programs drawn from the operations below, each applied to what there is so far."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from grammar import BINARY, UNARY
from hypothesis import strategies as st

LARGEST = 150
"""Numbers of a sample in one value; what is larger is cut."""


def rows(x):
    return x.flatten(1)


def matrix(x):
    """As [batch, rows, columns]."""
    return x if x.ndim == 3 else x.reshape(len(x), -1, x.shape[-1])


def halves(x):
    x = x if x.shape[-1] > 1 else torch.cat([x, -x], -1)
    return x.split([x.shape[-1] // 2, x.shape[-1] - x.shape[-1] // 2], -1)


PRODUCTS = {
    "linear": lambda x, y, k, new: F.linear(x, new(k, x.shape[-1]), new(k)),
    "matmul": lambda x, y, k, new: x @ new(x.shape[-1], k),
    "computed_matrix": lambda x, y, k, new: x @ torch.tanh(new(k, x.shape[-1])).t(),
    "per_head": lambda x, y, k, new: torch.einsum("bhi,hij->bhj", matrix(x), new(*matrix(x).shape[1:], k)),
    "left": lambda x, y, k, new: new(k, matrix(x).shape[1]) @ matrix(x),
    "between": lambda x, y, k, new: (matrix(x) @ new(matrix(x).shape[2], matrix(y).shape[2])) @ matrix(y).mT,
    "outer": lambda x, y, k, new: torch.einsum("bi,bj->bij", rows(x), rows(y)),
    "matvec": lambda x, y, k, new: torch.einsum(
        "bij,bj->bi", matrix(x), rows(y) @ new(rows(y).shape[1], matrix(x).shape[2])
    ),
}
REDUCTIONS = {
    "sum": lambda x, y, k, new: x.sum(-1, keepdim=True) * x,
    "sum_all": lambda x, y, k, new: rows(x).sum(-1, keepdim=True),
    "mean_of_rows": lambda x, y, k, new: matrix(x).mean(1),
    "amax": lambda x, y, k, new: x - x.amax(-1, keepdim=True),
    "amin": lambda x, y, k, new: x.amin(-1, keepdim=True),
    "logsumexp": lambda x, y, k, new: torch.logsumexp(x, -1, keepdim=True),
    "softmax": lambda x, y, k, new: F.softmax(x, -1),
    "softmax_of_rows": lambda x, y, k, new: F.softmax(matrix(x), 1),
    "log_softmax": lambda x, y, k, new: F.log_softmax(x, -1),
    "layer_norm": lambda x, y, k, new: F.layer_norm(x, x.shape[-1:], new(x.shape[-1]), new(x.shape[-1]), 0.1),
    "rms_norm": lambda x, y, k, new: F.rms_norm(x, x.shape[-1:], new(x.shape[-1]), 0.1),
    "lerp": lambda x, y, k, new: torch.lerp(x, torch.sin(x), torch.lerp(x, torch.cos(x), 0.25)),
    "layer_norm_plain": lambda x, y, k, new: F.layer_norm(x, x.shape[1:], eps=0.1),
    "variance": lambda x, y, k, new: x.var(-1, keepdim=True, correction=0),
    "norm": lambda x, y, k, new: x / (x.norm(dim=-1, keepdim=True) + 1),
    "vector_norm": lambda x, y, k, new: torch.linalg.vector_norm(x + 2, ord=1, dim=-1, keepdim=True) / x.shape[-1],
}
LAYOUT = {
    "cat": lambda x, y, k, new: torch.cat([rows(x), rows(y)], -1),
    "stack": lambda x, y, k, new: torch.stack([rows(x), torch.sin(rows(x))], k % 2 + 1),
    "swap_halves": lambda x, y, k, new: torch.cat(halves(x)[::-1], -1),
    "chunk": lambda x, y, k, new: x.chunk(2, -1)[-1],
    "slice": lambda x, y, k, new: x[..., k % 2 if x.shape[-1] > 1 else 0 :: 2],
    "select": lambda x, y, k, new: matrix(x)[:, k % matrix(x).shape[1]],
    "unbind": lambda x, y, k, new: sum(matrix(x).unbind(1)),
    "flatten": lambda x, y, k, new: rows(x),
    "reshape": lambda x, y, k, new: rows(x).reshape(len(x), -1, k if rows(x).shape[1] % k == 0 else 1),
    "transpose": lambda x, y, k, new: matrix(x).transpose(1, 2),
    "transposed_and_flat": lambda x, y, k, new: matrix(x).transpose(1, 2).reshape(len(x), -1),
    "expand": lambda x, y, k, new: rows(x)[:, None].expand(-1, k, -1) * 0.5,
    "repeat": lambda x, y, k, new: rows(x).repeat(1, k),
    "flip": lambda x, y, k, new: matrix(x).flip(-1, 1),
    "roll": lambda x, y, k, new: torch.roll(rows(x), k, 1),
    "permute_numbers": lambda x, y, k, new: rows(x)[:, torch.arange(rows(x).shape[1]).flip(0)],
    "take_twice": lambda x, y, k, new: rows(x)[:, torch.arange(2 * k).view(2, k) % rows(x).shape[1]],
    "take_rows": lambda x, y, k, new: (
        matrix(x).transpose(1, 2).index_select(2, torch.tensor([0, matrix(x).shape[1] - 1], device=x.device))
    ),
    "take_some": lambda x, y, k, new: rows(x)[:, torch.arange(rows(x).shape[1]) % (k + 1) == 0],
    "like_zeros": lambda x, y, k, new: torch.cat([torch.zeros_like(rows(x)), rows(x)], -1),
    "param": lambda x, y, k, new: x * new(x.shape[-1]) + new(1),
}
TABLE = {
    **PRODUCTS,
    **REDUCTIONS,
    **LAYOUT,
    **{f"unary {name}": lambda x, y, k, new, f=f: f(x) for name, f in UNARY.items()},
    **{
        f"binary {name}": lambda x, y, k, new, f=f: f(rows(x), rows(y).mean(1, keepdim=True))
        for name, f in BINARY.items()
    },
}


def apply(name, x, y, k, new):
    """One operation, bounded and cut, so that nothing blows up."""
    result = torch.tanh(TABLE[name](x, y, k, new))
    if result[0].numel() > LARGEST:
        result = result.flatten(1)[:, :LARGEST]
    return result


@dataclass(frozen=True)
class TensorProblem:
    """A scan to compare."""

    program: tuple
    states: tuple
    inputs: tuple
    batch: int
    time: int
    dtype: torch.dtype
    seed: int
    device: str = "cpu"

    def step(self, state, inputs, params):
        """The program, and each state added to what it made last, brought to its shape."""
        given = iter(params)
        return self._run(state, inputs, lambda *shape: next(given))

    def _run(self, state, inputs, new):
        values = [*state, *inputs]
        for name, a, b, k in self.program:
            values.append(apply(name, values[a % len(values)], values[b % len(values)], k, new))
        news = []
        for number, old in enumerate(state):
            last = values[-1 - number % len(values)].flatten(1)
            news.append(torch.tanh(old + (last @ new(last.shape[1], old[0].numel())).reshape(old.shape)))
        return tuple(news)

    def tensors(self):
        """Inputs, state and params, the same each time."""
        generator = torch.Generator().manual_seed(self.seed)

        def draw(*shape, scale=1.0):
            return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(self.device, self.dtype)

        inputs = [draw(self.batch, self.time, *shape) for shape in self.inputs]
        state = [draw(self.batch, *shape) for shape in self.states]
        shapes = []

        def remember(*shape):
            shapes.append(shape)
            return torch.zeros(shape, dtype=self.dtype, device=self.device)

        self._run(tuple(state), tuple(x[:, 0] for x in inputs), remember)
        params = [draw(*shape, scale=max(shape[0], 1) ** -0.5) for shape in shapes]
        for tensor in (*inputs, *state, *params):
            tensor.requires_grad_()
        return inputs, state, params


SHAPES = st.sampled_from([(1,), (3,), (6,), (2, 3), (4, 1), (3, 4)])


@st.composite
def tensor_problems(draw, longest=5):
    operation = st.tuples(st.sampled_from(sorted(TABLE)), st.integers(0, 9), st.integers(0, 9), st.integers(1, 4))
    return TensorProblem(
        program=tuple(draw(st.lists(operation, min_size=1, max_size=longest))),
        states=tuple(draw(st.lists(SHAPES, min_size=1, max_size=2))),
        inputs=tuple(draw(st.lists(SHAPES, min_size=1, max_size=2))),
        batch=draw(st.sampled_from([1, 2, 3, 5, 9])),
        time=draw(st.integers(1, 5)),
        dtype=draw(st.sampled_from([torch.float32, torch.float64])),
        seed=draw(st.integers(0, 2**16)),
    )
