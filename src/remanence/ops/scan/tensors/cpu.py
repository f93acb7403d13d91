"""Runs the kernels of steps on tensors on CPUs: tables of addresses."""

import functools
from array import array
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from remanence._kernels import launch, threads
from remanence._kernels.buffers import allocate
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.tensors.kernels import CompiledStep, choose_block_width, compile_both, compile_forward
from remanence.ops.scan.tensors.passes import BackwardPass
from remanence.ops.scan.tensors.tensor_graph import size_of
from remanence.ops.scan.tensors.tensor_trace import TracedTensorStep
from remanence.ops.scan.tensors.totals import Totals
from remanence.ops.scan.tensors.writer import Constant, Pack, Table


def refuses(traced: TracedTensorStep, like: Tensor) -> str | None:
    """Return why no kernel can run this step on tensors like this one, or None."""
    return launch.refuses(like)


def source(traced: TracedTensorStep) -> str:
    """Return the generated code of both directions, for people to read."""
    return "\n\n".join(
        compiled.source.text for compiled in compile_both(traced, choose_block_width(traced.dtype, 1, 1))
    )


class Tables:
    """The arguments of a kernel.

    Args:
        compiled: the kernel.
        batch: number of samples.
        time: number of time steps.
        dtype: dtype of every number.
        free: the tensors that all samples share.
    """

    def __init__(self, compiled: CompiledStep, batch: int, time: int, dtype: torch.dtype, free: Sequence[Tensor]):
        self.compiled, self.batch, self.time, self._dtype = compiled, batch, time, dtype
        self.units = -(-batch // compiled.lanes)
        self.parts = max(1, min(torch.get_num_threads(), self.units))
        self._alive: list[object] = []
        self._rows: dict[str, array] = {name: array("q") for name in ("starts", "loads", "grads", "stores", "ends")}
        self._frees = self._collect_addresses(free, compiled.source.constants)
        self.saved: Tensor | None = None
        self.sums: Tensor | None = None

    def _collect_addresses(self, free: Sequence[Tensor], constants: Iterable[Constant]) -> array:
        whole = [f.contiguous() for f in free]
        made = [_pack(whole[c.free], c) if isinstance(c, Pack) else _as_tensor(c) for c in constants]
        self._alive += [*whole, *made]
        return array("q", [x.data_ptr() for x in (*whole, *made)] or [0])

    def add(self, table: str, tensor: Tensor | None, place: int, count: int, *, over_time: bool) -> None:
        """Add a tensor [batch, time, ...] or [batch, ...] to be read or written; None stands for zeros to be read."""
        if tensor is None:
            tensor = torch.zeros(count, dtype=self._dtype)
            self._alive.append(tensor)
            self._rows[table].extend((tensor.data_ptr(), 0, 0, count, place))
            return
        size = tensor.itemsize
        inner = tensor.shape[2:] if over_time else tensor.shape[1:]
        steps = tensor.stride()[2:] if over_time else tensor.stride()[1:]
        if not _is_contiguous(inner, steps):
            tensor = tensor.contiguous()
        self._alive.append(tensor)
        sample, step = tensor.stride(0) * size, tensor.stride(1) * size if over_time else 0
        self._rows[table].extend((tensor.data_ptr(), sample, step, count, place))

    def run(self) -> None:
        """Run the kernel."""
        dtype = self._dtype
        source, lanes = self.compiled.source, self.compiled.lanes
        scratch = allocate(self.parts, max(source.size, 1) * lanes, dtype=dtype)
        values = [self.time, self.batch, scratch.data_ptr(), scratch.stride(0) * dtype.itemsize]
        values.append(self._frees.buffer_info()[0])
        for name in ("starts", "loads", "grads", "stores", "ends"):
            rows = self._rows[name]
            values += [rows.buffer_info()[0], len(rows) // 5]
        values += [0 if self.saved is None else self.saved.data_ptr(), source.saved_size]
        values += [0, 0] if self.sums is None else [self.sums.data_ptr(), self.sums.stride(0) * dtype.itemsize]
        block = array("q", [0, self.parts, self.units, *values])
        threads.run(self.compiled.kernel, block.buffer_info()[0], self.parts)


def _is_contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


@functools.lru_cache(maxsize=256)
def _as_tensor(table: Table) -> Tensor:
    return torch.tensor(table.places, dtype=torch.int64)


def _pack(free: Tensor, pack: Pack) -> Tensor:
    """Arrange a matrix in the order in which a kernel reads it."""
    groups, results, terms = pack.sizes
    matrix = free.as_strided(pack.sizes, pack.strides, free.storage_offset() + pack.offset)
    whole = results // pack.block * pack.block
    main = matrix[:, :whole].reshape(groups, -1, pack.block, terms).transpose(2, 3).reshape(groups, -1)
    rest = matrix[:, whole:].transpose(1, 2).reshape(groups, -1)
    return torch.cat([main, rest], 1).contiguous()


def forward(
    traced: TracedTensorStep, inputs: Tensors, state: Tensors, free: Sequence[Tensor], *, save: bool
) -> tuple[Tensors, Tensors]:
    """Compute the states after every step, and what is saved for the backward pass."""
    like = inputs[0]
    batch, time = like.shape[:2]
    lanes = choose_block_width(like.dtype, batch, torch.get_num_threads())
    compiled = compile_both(traced, lanes)[0] if save else compile_forward(traced, lanes)
    tables = Tables(compiled, batch, time, like.dtype, free)
    graph, places = compiled.of.graph, compiled.source.places
    for i, node in enumerate(graph.nodes):
        count = size_of(graph.shapes[i])
        if node.op == "state":
            tables.add("starts", state[int(node.value)], places[i], count, over_time=False)
        elif node.op == "input":
            tables.add("loads", inputs[int(node.value)], places[i], count, over_time=True)
    results = []
    for index, node in enumerate(graph.outputs[: len(state)]):
        result = allocate(batch, time, *state[index].shape[1:], dtype=like.dtype)
        tables.add("stores", result, places[node], size_of(graph.shapes[node]), over_time=True)
        results.append(result)
    if compiled.source.saved_size:
        tables.saved = allocate(tables.units, time, compiled.source.saved_size, lanes, dtype=like.dtype)
    tables.run()
    return tuple(results), () if tables.saved is None else (tables.saved,)


def backward(
    traced: TracedTensorStep,
    inputs: Tensors,
    state: Tensors,
    free: Sequence[Tensor],
    states: Tensors,
    saved: Tensors,
    grad_states: Sequence[Tensor | None],
    grad_final: Sequence[Tensor | None],
) -> tuple[Tensors, Tensors, list[Tensor]]:
    """Compute the gradients of states and inputs, and the totals."""
    like = inputs[0]
    batch, time = like.shape[:2]
    # The number of threads may have changed; the saved tensor has the number of samples in a block.
    lanes = saved[0].shape[-1] if saved else choose_block_width(like.dtype, batch, torch.get_num_threads())
    compiled = compile_both(traced, lanes)[1]
    back = compiled.of
    assert isinstance(back, BackwardPass)
    of_inputs = tuple(allocate(*x.shape, dtype=like.dtype) for x in inputs)
    parts = max(1, min(torch.get_num_threads(), -(-batch // lanes)))
    sums = torch.zeros(parts, max(compiled.source.sums_size, 1) * lanes, dtype=like.dtype)

    def run(span: slice, carried: Sequence[Tensor | None]) -> tuple[Tensors, dict[int, Tensor]]:
        length = span.stop - span.start
        tables = Tables(compiled, batch, length, like.dtype, free)
        tables.sums = sums
        if saved:
            tables.saved = saved[0] if length == time else saved[0][:, span].contiguous()
        _add_primals(tables, inputs, state, states, span)
        new = tuple(torch.empty_like(s, memory_format=torch.contiguous_format) for s in state)
        _add_gradients(tables, grad_states, carried, of_inputs, new, span)
        factors = _add_factors(tables, back, batch, length, like.dtype)
        tables.run()
        return new, factors

    totals = Totals(back)
    of_state = totals.run(batch, time, like.dtype, grad_final, run)
    return of_state, of_inputs, totals.collect(sums.view(parts, -1, lanes).sum((0, 2)), compiled.source.sums)


def _add_primals(tables: Tables, inputs: Tensors, state: Tensors, states: Tensors, span: slice) -> None:
    graph, places = tables.compiled.of.graph, tables.compiled.source.places
    for i, node in enumerate(graph.nodes):
        count, which = size_of(graph.shapes[i]), int(node.value) if node.op in ("state", "input") else 0
        if node.op == "input":
            tables.add("loads", inputs[which][:, span], places[i], count, over_time=True)
        elif node.op == "state":
            before = states[which][:, span.start - 1 : span.stop - 1] if span.start else None
            if before is None:
                before = torch.cat([state[which][:, None], states[which][:, : span.stop - 1]], 1)
            tables.add("loads", before, places[i], count, over_time=True)


def _add_gradients(
    tables: Tables,
    grad_states: Sequence[Tensor | None],
    carried: Sequence[Tensor | None],
    of_inputs: Tensors,
    new: Tensors,
    span: slice,
) -> None:
    graph, places = tables.compiled.of.graph, tables.compiled.source.places
    for i, node in enumerate(graph.nodes):
        if node.op == "cotangent":
            grad = grad_states[int(node.value)]
            grad = None if grad is None else grad[:, span]
            tables.add("grads", grad, places[i], size_of(graph.shapes[i]), over_time=True)
    for index, state in enumerate(new):
        count = size_of(state.shape[1:])
        tables.add("starts", carried[index], places[-1 - index], count, over_time=False)
        tables.add("ends", state, places[-1 - index], count, over_time=False)
    for index, grad in enumerate(of_inputs):
        node = graph.outputs[len(new) + index]
        tables.add("stores", grad[:, span], places[node], size_of(graph.shapes[node]), over_time=True)


def _add_factors(tables: Tables, back: BackwardPass, batch: int, time: int, dtype: torch.dtype) -> dict[int, Tensor]:
    graph, places = back.graph, tables.compiled.source.places
    factors: dict[int, Tensor] = {}
    for node in back.factors:
        shape = graph.shapes[node]
        factors[node] = allocate(batch, time, *shape, dtype=dtype)
        tables.add("stores", factors[node], places[node], size_of(shape), over_time=True)
    return factors
