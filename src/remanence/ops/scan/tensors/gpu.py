"""Runs the kernels of steps on tensors on GPUs.

Arithmetic is in float64 for float64 and in float32 for all other dtypes, matrix products included. With bfloat16 and
float16 a state is rounded only where it is stored, not from step to step; the backward pass linearises each step at the
stored state. Sums have a fixed order, so that the same call always gives the same bits.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from remanence._kernels import triton_support
from remanence._kernels.source_text import load_functions
from remanence.ops.scan.gpu import DTYPES
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.tensors.gpu_source import TritonSource, backward_source, forward_source
from remanence.ops.scan.tensors.passes import BackwardPass, ForwardPass, make_both, make_forward
from remanence.ops.scan.tensors.tensor_graph import TensorGraph, size_of
from remanence.ops.scan.tensors.tensor_trace import TracedTensorStep
from remanence.ops.scan.tensors.totals import Totals
from remanence.ops.scan.tensors.triton_block import Packed, Tile, round_up
from remanence.ops.scan.triton_step import real_type

Made = TypeVar("Made")

PROGRAMS = 128
"""About as many programs as a large GPU has multiprocessors: a tile is as small as the batch allows with so many."""

MOST_SAMPLES = 32
"""The most samples of a tile."""

THREADS = 128
"""As many numbers at least do all samples of a tile together have in their largest value, if there are so many."""


MOST_OPERATIONS = 600
"""The most operations of a step: with its derivative, a kernel of more takes minutes to compile."""

LARGEST_SAMPLE = 2**22
"""The most numbers of a sample in a step: a program reads and writes them at every time step, alone."""

LARGEST_MATRICES = 2**21
"""The most numbers of matrices that all samples share. Every program reads them at every time step, some 64 bytes a
cycle: with more, a loop of PyTorch's matrix products, which read them once for all samples, is estimated to be as fast.
"""


def refuses(traced: TracedTensorStep, like: Tensor) -> str | None:
    """Return why Triton cannot run this step on tensors like this one, or None."""
    return triton_support.refuses(like, DTYPES) or _refuses_size(traced.forward.graph)


def _refuses_size(graph: TensorGraph) -> str | None:
    """Return why one program is not enough for a time step of a sample, or None."""
    own = sum(size_of(shape) for node, shape in zip(graph.nodes, graph.shapes, strict=True) if node.op != "free")
    for count, most, of in (
        (len(graph.nodes), MOST_OPERATIONS, "operations"),
        (own, LARGEST_SAMPLE, "numbers in each sample"),
        (_count_shared(graph), LARGEST_MATRICES, "numbers in its matrices"),
    ):
        if count > most:
            return f"it has {count} {of}, and one kernel for all time steps is made of {most} at most"
    return None


def source(traced: TracedTensorStep) -> str:
    """Return the generated Triton code of both directions, for people to read."""
    there, back = make_both(traced)
    tile, real = choose_tile(back.graph, traced.dtype, 1), real_type(traced.dtype)
    texts = forward_source(there, tile, real).text, backward_source(back, tile, real, [True] * back.states).text
    return "\n\n".join(texts)


def forward(
    traced: TracedTensorStep, inputs: Tensors, state: Tensors, free: Sequence[Tensor], *, save: bool
) -> tuple[Tensors, Tensors]:
    """Compute the states after every step, and what is saved for the backward pass."""
    like = inputs[0]
    batch, time = like.shape[:2]
    kernel, there = _get_forward(traced, batch, save)
    states = tuple(_allocate(like, (batch, time, *s.shape[1:]), like.dtype) for s in state)
    shapes = [(batch, time, size_of(there.graph.shapes[node])) for node in there.saved]
    saved = tuple(_allocate(like, shape, traced.dtype) for shape in shapes)
    kernel.launch(
        like,
        _list_sequences("input", inputs)
        | _list_starts("initial", state)
        | _list_free(free)
        | _list_sequences("states", states)
        | _list_sequences("saved", saved),
    )
    return states, saved


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
    like, dtype = inputs[0], traced.dtype
    batch, time = like.shape[:2]
    kernel, back = _get_backward(traced, batch, tuple(grad is not None for grad in grad_states))
    of_inputs = tuple(_allocate(like, x.shape, like.dtype) for x in inputs)
    sums = like.new_zeros((batch, kernel.source.sums_size), dtype=dtype)

    def run(span: slice, carried: Sequence[Tensor | None]) -> tuple[Tensors, dict[int, Tensor]]:
        part = like[:, span]
        first = state if span.start == 0 else tuple(s[:, span.start - 1] for s in states)
        new = tuple(_allocate(like, s.shape, dtype) for s in state)
        shapes = [(batch, part.shape[1], *back.graph.shapes[node]) for node in back.factors]
        factors = [_allocate(like, shape, dtype) for shape in shapes]
        # What no gradient comes to is 0: a stride of 0 reads one zero.
        final = [like.new_zeros(()).expand(s.shape) if g is None else g for s, g in zip(state, carried, strict=True)]
        kernel.launch(
            part,
            _list_sequences("input", [x[:, span] for x in inputs])
            | _list_sequences("states", [s[:, span] for s in states])
            | _list_sequences("saved", [s[:, span] for s in saved])
            | _list_sequences("above", [None if g is None else g[:, span] for g in grad_states])
            | _list_sequences("d_input", [g[:, span] for g in of_inputs])
            | _list_sequences("factor", factors)
            | _list_starts("initial", first)
            | _list_starts("final", final)
            | _list_starts("d_state", new)
            | _list_free(free)
            | {"sums_at": sums},
        )
        return new, dict(zip(back.factors, factors, strict=True))

    totals = Totals(back)
    of_state = totals.run(batch, time, dtype, grad_final, run)
    return of_state, of_inputs, totals.collect(sums.sum(0), kernel.source.sums)


@dataclass(frozen=True)
class _Kernel:
    """A Triton kernel with its source."""

    source: TritonSource
    function: Any
    dtype: torch.dtype

    def launch(self, like: Tensor, arguments: dict[str, Tensor | int]) -> None:
        """Run the kernel over sequences like this one, with those of the arguments that it takes."""
        batch, time = like.shape[:2]
        tile, names = self.source.tile, set(self.function.arg_names)
        programs = -(-batch // tile.samples)
        arguments |= {f"table{k}_at": _make_table(t, like.device) for k, t in enumerate(self.source.tables)}
        arguments |= {
            f"packed{k}_at": _pack(arguments[f"free{p.free}_at"], p) for k, p in enumerate(self.source.packed)
        }
        taken = {name: value for name, value in arguments.items() if name in names}
        taken["scratch_at"] = _allocate(like, (programs, tile.samples, self.source.width), self.dtype)
        # Triton prefetches what a loop reads if there are more stages; what another part has written must not be.
        with torch.cuda.device_of(like):
            self.function[(programs,)](**taken, time=time, batch=batch, num_warps=tile.warps, num_stages=1)


def _get_forward(traced: TracedTensorStep, batch: int, save: bool) -> tuple[_Kernel, ForwardPass]:
    """Return the kernel of a forward pass, built at first use."""
    there = _get_passes(traced)[0] if save else _get_pass(traced)
    tile = choose_tile(there.graph, traced.dtype, batch)
    return _build(traced, ("forward", save, tile), lambda real: forward_source(there, tile, real)), there


def _get_backward(traced: TracedTensorStep, batch: int, above: tuple[bool, ...]) -> tuple[_Kernel, BackwardPass]:
    """Return the kernel of the backward pass, built at first use."""
    back = _get_passes(traced)[1]
    tile = choose_tile(back.graph, traced.dtype, batch)
    return _build(traced, ("backward", above, tile), lambda real: backward_source(back, tile, real, above)), back


def _get_pass(traced: TracedTensorStep) -> ForwardPass:
    return _remember(traced, "forward pass", lambda: make_forward(traced))


def _get_passes(traced: TracedTensorStep) -> tuple[ForwardPass, BackwardPass]:
    return _remember(traced, "both passes", lambda: make_both(traced))


def _build(traced: TracedTensorStep, variant: tuple[Any, ...], write: Callable[[str], TritonSource]) -> _Kernel:
    interpreted = triton_support.is_interpreted()

    def build() -> _Kernel:
        source = write(real_type(traced.dtype))
        return _Kernel(source, load_functions(source.text, interpreted)[source.name], traced.dtype)

    return _remember(traced, ("gpu", interpreted, *variant), build)


def _remember(traced: TracedTensorStep, key: object, make: Callable[[], Made]) -> Made:
    """Return what was made for a trace before, or make it."""
    if key not in traced.kernels:
        traced.kernels[key] = make()
    return traced.kernels[key]


def choose_tile(graph: TensorGraph, dtype: torch.dtype, batch: int) -> Tile:
    """Choose the tile that a program computes at once.

    Programs with more samples read matrices less often; but as long as there are multiprocessors without work, fewer
    samples in each are faster.

    Args:
        graph: graph of a time step.
        dtype: dtype of the arithmetic.
        batch: number of samples.
    """
    largest = max(size_of(shape) for node, shape in zip(graph.nodes, graph.shapes, strict=True) if node.op != "free")
    samples = round_up(-(-batch // PROGRAMS))
    if not _count_shared(graph):
        samples = THREADS // round_up(largest)  # several programs share a multiprocessor
    samples = max(1, min(samples, MOST_SAMPLES, round_up(batch)))
    work = samples * max(largest, *(_count_terms(graph, i) for i in range(len(graph.nodes))))
    warps = max(1, min(8, round_up(work) // (32 * 16)))
    return Tile(samples, warps, dtype.itemsize // 4)


def _count_shared(graph: TensorGraph) -> int:
    """Return how many numbers the matrices have that all samples share."""
    factors = {graph.locate(a)[0] for node in graph.nodes if node.op == "contract" for a in node.arguments}
    return sum(size_of(graph.shapes[i]) for i in factors if graph.nodes[i].op == "free")


def _count_terms(graph: TensorGraph, place: int) -> int:
    """Return how many products of numbers a matrix product of a sample adds up."""
    node = graph.nodes[place]
    return size_of(graph.shapes[place]) * graph.shapes[node.arguments[0]][-1] if node.op == "contract" else 1


def _pack(free: Tensor | int, packed: Packed) -> Tensor:
    assert isinstance(free, Tensor)
    return free.as_strided(packed.sizes, packed.strides, free.storage_offset() + packed.offset).contiguous()


@functools.lru_cache(maxsize=256)
def _make_table(table: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(table, dtype=torch.int32, device=device)


def _allocate(like: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return an uninitialized tensor, all of which a kernel will write."""
    return like.new_empty(shape, dtype=dtype)


def _list_sequences(name: str, tensors: Sequence[Tensor | None]) -> dict[str, Tensor | int]:
    """Return arguments for tensors [batch, time, ...] with their strides."""
    arguments: dict[str, Tensor | int] = {}
    for index, tensor in enumerate(tensors):
        if tensor is not None:
            x = tensor if tensor[0, 0].is_contiguous() else tensor.contiguous()
            strides = zip(("at", "batch", "time"), (x, *x.stride()[:2]), strict=True)
            arguments |= {f"{name}{index}_{of}": value for of, value in strides}
    return arguments


def _list_starts(name: str, tensors: Sequence[Tensor]) -> dict[str, Tensor | int]:
    """Return arguments for tensors [batch, ...] with their strides."""
    arguments: dict[str, Tensor | int] = {}
    for index, tensor in enumerate(tensors):
        x = tensor if tensor[0].is_contiguous() else tensor.contiguous()
        arguments |= {f"{name}{index}_at": x, f"{name}{index}_batch": x.stride(0)}
    return arguments


def _list_free(free: Sequence[Tensor]) -> dict[str, Tensor | int]:
    return {f"free{index}_at": x.contiguous() for index, x in enumerate(free)}
