"""Lowers PyTorch's operators on whole tensors to the operations of a graph of tensors."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from remanence.ops.scan.aten import Emitter
from remanence.ops.scan.tensors.tensor_graph import Shape, ShapeError, TensorBuilder, contiguous_strides

Structural: TypeAlias = Callable[..., Any]

STRUCTURAL: dict[str, Structural] = {}
"""Lowerings by operator name without overload: (emitter, every argument of the schema) -> position or positions; tensor
arguments are positions."""


class TensorEmitter(Emitter):
    """Adds operations to a graph of tensors.

    Attributes:
        batch: batch size of the tensors in the trace.
        outputs: the results of the operation in the trace.
    """

    builder: TensorBuilder

    def __init__(self, builder: TensorBuilder, batch: int, outputs: Sequence[Tensor]):
        super().__init__(builder)
        self.batch, self.outputs = batch, outputs

    def shape(self, x: int) -> Shape:
        """Return the shape of one sample."""
        return self.builder.shapes[x]

    def axis(self, x: int) -> int | None:
        """Return the dimension of the batch."""
        return self.builder.axes[x]

    def sample_shape(self, shape: Sequence[int], axis: int | None) -> Shape:
        """Return the shape of one sample of a tensor of the trace."""
        return tuple(size // self.batch if i == axis else size for i, size in enumerate(shape))

    def view(self, x: int, shape: Shape, strides: Shape, offset: int, axis: int | None) -> int:
        """Return a strided view of the memory of x."""
        base, _, begin = self.builder.locate(x)
        return self.builder.view(base, shape, strides, begin + offset, axis)

    def strides(self, x: int) -> Shape:
        """Return the strides of x in its memory."""
        return self.builder.locate(x)[1]

    def make_contiguous(self, x: int) -> int:
        """Return a contiguous node with the values of x."""
        if self.strides(x) == contiguous_strides(self.shape(x)) and self.builder.nodes[x].op != "view":
            return x
        return self.builder.add("copy", x, shape=self.shape(x), axis=self.axis(x))

    def reshape(self, x: int, shape: Shape, axis: int | None) -> int:
        """Reshape x; the order of the numbers stays the same."""
        try:
            part = torch.empty_strided(self.shape(x), self.strides(x), device="meta").view(shape)
        except RuntimeError:
            return self.reshape(self.make_contiguous(x), shape, axis)
        return self.view(x, shape, part.stride(), 0, axis)

    def permute(self, x: int, dims: Sequence[int]) -> int:
        """Permute the dimensions."""
        shape, strides, axis = self.shape(x), self.strides(x), self.axis(x)
        dims = [dim % len(shape) for dim in dims]
        where = None if axis is None else dims.index(axis)
        return self.view(x, tuple(shape[d] for d in dims), tuple(strides[d] for d in dims), 0, where)

    def unsqueeze(self, x: int, dim: int) -> int:
        """Insert a dimension of size 1."""
        shape, strides, axis = self.shape(x), self.strides(x), self.axis(x)
        dim %= len(shape) + 1
        where = None if axis is None else axis + (dim <= axis)
        return self.view(x, (*shape[:dim], 1, *shape[dim:]), (*strides[:dim], 1, *strides[dim:]), 0, where)

    def squeeze(self, x: int, dims: Sequence[int]) -> int:
        """Remove those of the dimensions that have size 1, except the batch."""
        shape, strides, axis = self.shape(x), self.strides(x), self.axis(x)
        gone = {d % len(shape) for d in dims if shape and shape[d] == 1} - {axis} if shape else set()
        kept = [d for d in range(len(shape)) if d not in gone]
        where = None if axis is None else kept.index(axis)
        return self.view(x, tuple(shape[d] for d in kept), tuple(strides[d] for d in kept), 0, where)

    def expand(self, x: int, target: Sequence[int]) -> int:
        """Expand dimensions of size 1 without a copy; ``target`` is the shape in the trace."""
        shape, strides = self.shape(x), self.strides(x)
        lead = len(target) - len(shape)
        where = self.axis(x)
        where = None if where is None else where + lead
        if where is None:
            new = [i for i, size in enumerate(target) if size % self.batch == 0 and size and self._is_new(x, i - lead)]
            if len(new) > 1:
                raise ShapeError("two dimensions of the size of the batch")
            where = new[0] if new else None
        wanted = self.sample_shape(target, where)
        steps = [
            0 if i < lead or (shape[i - lead] == 1 and size != 1) else strides[i - lead]
            for i, size in enumerate(wanted)
        ]
        return self.view(x, wanted, tuple(steps), 0, where)

    def _is_new(self, x: int, dim: int) -> bool:
        return dim < 0 or self.shape(x)[dim] == 1

    def narrow(self, x: int, dim: int, start: int, length: int, step: int = 1) -> int:
        """Return a slice along a dimension."""
        shape, strides, axis = list(self.shape(x)), list(self.strides(x)), self.axis(x)
        dim %= len(shape)
        if dim == axis and length != shape[dim]:
            raise ShapeError("samples of the batch are taken one by one")
        offset = start * strides[dim]
        shape[dim], strides[dim] = length, strides[dim] * step
        return self.view(x, tuple(shape), tuple(strides), offset, axis)

    def reduce(self, op: str, x: int, dims: Sequence[int], keepdim: bool, *, within: bool = False) -> int:
        """Reduce over dimensions other than the batch, or also over what a sample has ``within`` that dimension."""
        shape, axis = self.shape(x), self.axis(x)
        dims = tuple(sorted(d % max(len(shape), 1) for d in dims))
        if axis is not None and axis in dims and not within:
            raise ShapeError("a sum over the samples of the batch")
        kept = tuple(1 if d in dims else size for d, size in enumerate(shape))
        real = self.real(x)
        result = real
        if kept != shape:
            result = self.builder.add(op, real, value=tuple(d for d in dims if shape[d] != 1), shape=kept, axis=axis)
        return result if keepdim else self.squeeze(result, dims) if dims else result

    def sum(self, x: int, dims: Sequence[int], keepdim: bool = True) -> int:
        """Sum over dimensions other than the batch."""
        return self.reduce("sum", x, dims, keepdim)

    def mean(self, x: int, dims: Sequence[int], keepdim: bool = True) -> int:
        """Average over dimensions other than the batch."""
        count = math.prod(self.shape(x)[d] for d in dims)
        return self.div(self.sum(x, dims, keepdim), self.number(float(count)))

    def contract(self, left: int, right: int) -> int:
        """Multiply matrices [..., i, k] x [..., k, j] of each sample."""
        a, b = self.shape(left), self.shape(right)
        axes = {self.axis(x) for x in (left, right)} - {None}
        if len(axes) > 1:
            raise ShapeError("a product of two tensors whose batches are in different dimensions")
        if a[-1] == 1:
            return self.mul(left, right)
        axis = axes.pop() if axes else None
        return self.builder.add("contract", left, right, shape=(*a[:-1], b[-1]), axis=axis)

    def cat(self, xs: Sequence[int], dim: int) -> int:
        """Concatenate along a dimension."""
        axes = {self.axis(x) for x in xs}
        shapes = [self.shape(x) for x in xs]
        dim %= len(shapes[0])
        if len(axes) > 1 or dim in axes:
            raise ShapeError("tensors joined along the batch, or with and without a batch")
        shape = list(shapes[0])
        shape[dim] = sum(s[dim] for s in shapes)
        xs = [self.real(x) for x in xs]
        return self.builder.add("cat", *xs, value=dim, shape=tuple(shape), axis=axes.pop())

    def pad(self, x: int, sizes: Sequence[int], dim: int, start: int, step: int = 1) -> int:
        """Pad x with 0: it starts at ``start`` along a dimension; ``sizes`` is the shape in the trace."""
        axis = self.axis(x)
        shape = self.sample_shape(sizes, axis)
        strides = list(contiguous_strides(shape))
        offset = start * strides[dim]
        strides[dim] *= step
        return self.builder.add("pad", x, value=(tuple(strides), offset), shape=shape, axis=axis)


def _structural(*names: str) -> Callable[[Structural], Structural]:
    def register(function: Structural) -> Structural:
        for name in names:
            STRUCTURAL[name] = function
        return function

    return register


@_structural("view", "_unsafe_view", "reshape", "_reshape_alias")
def _view(e: TensorEmitter, x: int, *_: Any) -> int:
    target, shape, axis = e.outputs[0].shape, e.shape(x), e.axis(x)
    where = None
    if axis is not None:
        before = math.prod(shape[:axis])
        places = [i for i, size in enumerate(target) if math.prod(target[:i]) == before and size % e.batch == 0]
        if not places:
            raise ShapeError("a change of shape that splits the batch, or puts another dimension before it")
        where = places[0]
    return e.reshape(x, e.sample_shape(target, where), where)


@_structural("permute")
def _permute(e: TensorEmitter, x: int, dims: Sequence[int]) -> int:
    return e.permute(x, dims)


@_structural("transpose")
def _transpose(e: TensorEmitter, x: int, first: int, second: int) -> int:
    dims = list(range(len(e.shape(x))))
    dims[first], dims[second] = dims[second], dims[first]
    return e.permute(x, dims)


@_structural("t")
def _t(e: TensorEmitter, x: int) -> int:
    return e.permute(x, range(len(e.shape(x)))[::-1])


@_structural("unsqueeze")
def _unsqueeze(e: TensorEmitter, x: int, dim: int) -> int:
    return e.unsqueeze(x, dim)


@_structural("squeeze")
def _squeeze(e: TensorEmitter, x: int, dims: int | Sequence[int] | None = None) -> int:
    every = range(len(e.shape(x)))
    return e.squeeze(x, every if dims is None else [dims] if isinstance(dims, int) else dims)


@_structural("expand")
def _expand(e: TensorEmitter, x: int, *_: Any) -> int:
    return e.expand(x, e.outputs[0].shape)


@_structural("repeat")
def _repeat(e: TensorEmitter, x: int, repeats: Sequence[int]) -> int:
    for _ in range(len(repeats) - len(e.shape(x))):
        x = e.unsqueeze(x, 0)
    shape, axis = e.shape(x), e.axis(x)
    if axis is not None and repeats[axis] != 1:
        raise ShapeError("the batch is repeated")
    for dim in reversed(range(len(shape))):
        x = e.unsqueeze(x, dim)
    target = [size for pair in zip(repeats, shape, strict=True) for size in pair]
    where = None if axis is None else 2 * axis + 1
    actual = [size * e.batch if i == where else size for i, size in enumerate(target)]
    x = e.expand(x, actual)
    return e.reshape(x, tuple(r * s for r, s in zip(repeats, shape, strict=True)), axis)


@_structural("select")
def _select(e: TensorEmitter, x: int, dim: int, index: int) -> int:
    dim %= len(e.shape(x))
    if dim == e.axis(x):
        raise ShapeError("one sample of the batch is taken")
    return e.squeeze(e.narrow(x, dim, index % e.shape(x)[dim], 1), [dim])


@_structural("slice")
def _slice(e: TensorEmitter, x: int, dim: int, start: int | None, end: int | None, step: int) -> int:
    dim %= len(e.shape(x))
    if dim == e.axis(x):
        if e.outputs[0].shape[dim] != e.shape(x)[dim] * e.batch:
            raise ShapeError("some samples of the batch are taken")
        return x
    begin, stop, step = slice(start, end, step).indices(e.shape(x)[dim])
    return e.narrow(x, dim, begin, len(range(begin, stop, step)), step)


@_structural("split", "split_with_sizes", "chunk")
def _split(e: TensorEmitter, x: int, _: Any, dim: int = 0) -> tuple[int, ...]:
    parts, start = [], 0
    for output in e.outputs:
        length = e.sample_shape(output.shape, e.axis(x))[dim]
        parts.append(e.narrow(x, dim, start, length))
        start += length
    return tuple(parts)


@_structural("unbind")
def _unbind(e: TensorEmitter, x: int, dim: int = 0) -> tuple[int, ...]:
    return tuple(_select(e, x, dim, index) for index in range(len(e.outputs)))


@_structural("cat")
def _cat(e: TensorEmitter, xs: Sequence[int], dim: int = 0) -> int:
    return e.cat(xs, dim)


@_structural("stack")
def _stack(e: TensorEmitter, xs: Sequence[int], dim: int = 0) -> int:
    dim %= len(e.shape(xs[0])) + 1
    return e.cat([e.unsqueeze(x, dim) for x in xs], dim)


@_structural("slice_backward")
def _slice_backward(e: TensorEmitter, g: int, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> int:
    dim %= len(sizes)
    if dim == e.axis(g):
        return g
    return e.pad(e.real(g), sizes, dim, slice(start, end, step).indices(sizes[dim])[0], step)


@_structural("select_backward")
def _select_backward(e: TensorEmitter, g: int, sizes: Sequence[int], dim: int, index: int) -> int:
    dim %= len(sizes)
    return e.pad(e.unsqueeze(e.real(g), dim), sizes, dim, index % sizes[dim])


@_structural("constant_pad_nd")
def _constant_pad(e: TensorEmitter, x: int, pad: Sequence[int], value: Any) -> int:
    if value != 0 or any(size < 0 for size in pad):
        raise ShapeError("padding with another number than 0, or a negative one")
    sizes = list(e.shape(x))
    for i, (low, high) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        dim = len(sizes) - 1 - i
        if dim == e.axis(x) and (low or high):
            raise ShapeError("the batch is padded")
        if low or high:
            sizes[dim] += low + high
            actual = [size * e.batch if d == e.axis(x) else size for d, size in enumerate(sizes)]
            x = e.pad(e.real(x), actual, dim, low)
    return x


@_structural("fill")
def _fill(e: TensorEmitter, x: int, value: Any) -> int:
    if not isinstance(value, bool | int | float):
        raise ShapeError("filled with a number that is computed")
    return e.builder.fill(float(value), e.shape(x), e.axis(x))


@_structural("sum")
def _sum(e: TensorEmitter, x: int, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> int:
    return e.sum(x, _dims(e, x, dims), keepdim)


@_structural("mean")
def _mean(e: TensorEmitter, x: int, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> int:
    return e.mean(x, _dims(e, x, dims), keepdim)


@_structural("amax")
def _amax(e: TensorEmitter, x: int, dims: Any = (), keepdim: bool = False) -> int:
    return e.reduce("amax", x, _dims(e, x, dims), keepdim)


@_structural("amin")
def _amin(e: TensorEmitter, x: int, dims: Any = (), keepdim: bool = False) -> int:
    return e.neg(e.reduce("amax", e.neg(x), _dims(e, x, dims), keepdim))


def _dims(e: TensorEmitter, x: int, dims: Any) -> list[int]:
    """Return the dimensions of a reduction; all if none are given."""
    count = len(e.shape(x))
    dims = [dims] if isinstance(dims, int) else dims
    return [d % count for d in dims] if dims else list(range(count))


@_structural("logsumexp")
def _logsumexp(e: TensorEmitter, x: int, dims: Any, keepdim: bool = False) -> int:
    dims = _dims(e, x, dims)
    top = e.reduce("amax", x, dims, True)
    top = e.where(e.eq(e.abs(top), e.number(math.inf)), e.number(0.0), top)
    total = e.add(e.log(e.sum(e.exp(e.sub(x, top)), dims)), top)
    return total if keepdim else e.squeeze(total, dims)


@_structural("_softmax")
def _softmax(e: TensorEmitter, x: int, dim: int, _: bool) -> int:
    dims = _dims(e, x, dim)
    powers = e.exp(e.sub(x, e.reduce("amax", x, dims, True)))
    return e.div(powers, e.sum(powers, dims))


@_structural("_log_softmax")
def _log_softmax(e: TensorEmitter, x: int, dim: int, _: bool) -> int:
    dims = _dims(e, x, dim)
    shifted = e.sub(x, e.reduce("amax", x, dims, True))
    return e.sub(shifted, e.log(e.sum(e.exp(shifted), dims)))


@_structural("_softmax_backward_data")
def _softmax_backward(e: TensorEmitter, g: int, y: int, dim: int, _: Any) -> int:
    product = e.mul(g, y)
    return e.sub(product, e.mul(y, e.sum(product, _dims(e, y, dim))))


@_structural("_log_softmax_backward_data")
def _log_softmax_backward(e: TensorEmitter, g: int, y: int, dim: int, _: Any) -> int:
    return e.sub(g, e.mul(e.exp(y), e.sum(g, _dims(e, y, dim))))


@_structural("native_layer_norm")
def _layer_norm(
    e: TensorEmitter, x: int, sizes: Sequence[int], weight: int | None, bias: int | None, eps: Any
) -> tuple[int, int, int]:
    dims = list(range(len(e.shape(x))))[-len(sizes) :]
    mean = e.mean(x, dims)
    centred = e.sub(x, mean)
    rstd = e.div(e.number(1.0), e.sqrt(e.add(e.mean(e.mul(centred, centred), dims), e.number(eps))))
    y = e.mul(centred, rstd)
    y = y if weight is None else e.mul(y, weight)
    return (y if bias is None else e.add(y, bias)), mean, rstd


def layer_norm_backward(
    e: TensorEmitter, g: int, x: int, sizes: Sequence[int], mean: int, rstd: int, weight: int | None
) -> tuple[int, int]:
    """The gradient of x, and for every sample that of the weight."""
    dims = list(range(len(e.shape(x))))[-len(sizes) :]
    normal = e.mul(e.sub(x, mean), rstd)
    inner = g if weight is None else e.mul(g, weight)
    centred = e.sub(e.sub(inner, e.mean(inner, dims)), e.mul(normal, e.mean(e.mul(inner, normal), dims)))
    return e.mul(rstd, centred), e.mul(g, normal)


def rms_norm_backward(
    e: TensorEmitter, g: int, x: int, sizes: Sequence[int], rstd: int, weight: int | None
) -> tuple[int, int]:
    """The gradient of x, and for every sample that of the weight."""
    dims = list(range(len(e.shape(x))))[-len(sizes) :]
    normal = e.mul(x, rstd)
    inner = g if weight is None else e.mul(g, weight)
    return e.mul(rstd, e.sub(inner, e.mul(normal, e.mean(e.mul(inner, normal), dims)))), e.mul(g, normal)


@_structural("_fused_rms_norm")
def _rms_norm(e: TensorEmitter, x: int, sizes: Sequence[int], weight: int | None, eps: Any) -> tuple[int, int]:
    dims = list(range(len(e.shape(x))))[-len(sizes) :]
    eps = torch.finfo(e.outputs[0].dtype).eps if eps is None else eps
    rstd = e.div(e.number(1.0), e.sqrt(e.add(e.mean(e.mul(x, x), dims), e.number(eps))))
    y = e.mul(x, rstd)
    return (y if weight is None else e.mul(y, weight)), rstd


@_structural("var")
def _var(e: TensorEmitter, x: int, dims: Any, correction: Any = None, keepdim: bool = False) -> int:
    return _var_mean(e, x, dims, correction, keepdim)[0]


@_structural("std")
def _std(e: TensorEmitter, x: int, dims: Any, correction: Any = None, keepdim: bool = False) -> int:
    return e.sqrt(_var_mean(e, x, dims, correction, keepdim)[0])


@_structural("var_mean")
def _var_mean(e: TensorEmitter, x: int, dims: Any, correction: Any = None, keepdim: bool = False) -> tuple[int, int]:
    dims = _dims(e, x, dims)
    count = math.prod(e.shape(x)[d] for d in dims)
    mean = e.mean(x, dims)
    centred = e.sub(x, mean)
    divisor = count - (1 if correction is None else correction)
    total = e.sum(e.mul(centred, centred), dims)
    variance = e.div(total, e.number(float(max(divisor, 0))))
    return (variance, mean) if keepdim else (e.squeeze(variance, dims), e.squeeze(mean, dims))


@_structural("linalg_vector_norm", "norm")
def _norm(e: TensorEmitter, x: int, order: Any = 2, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> int:
    dims, order = _dims(e, x, dims), 2 if order is None else order
    if order == 2:
        result = e.sqrt(e.sum(e.mul(x, x), dims))
    elif order == 1:
        result = e.sum(e.abs(x), dims)
    elif order == math.inf:
        result = e.reduce("amax", e.abs(x), dims, True)
    else:
        raise ShapeError(f"a norm of order {order}: only 1, 2 and infinity are known")
    return result if keepdim else e.squeeze(result, dims)


@_structural("mm", "bmm")
def _mm(e: TensorEmitter, left: int, right: int) -> int:
    return e.contract(left, right)


@_structural("addmm", "baddbmm")
def _addmm(e: TensorEmitter, bias: int, left: int, right: int, beta: Any = 1, alpha: Any = 1) -> int:
    product = e.mul(e.contract(left, right), e.number(alpha))
    return e.add(e.mul(bias, e.number(beta)), product)


@_structural("mv")
def _mv(e: TensorEmitter, matrix: int, vector: int) -> int:
    return e.squeeze(e.contract(matrix, e.unsqueeze(vector, 1)), [1])
