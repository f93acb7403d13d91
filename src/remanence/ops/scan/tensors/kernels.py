"""Compiles the kernels of a step on tensors."""

from dataclasses import dataclass

import torch

from remanence._kernels import kernel
from remanence._kernels.launch import BITS
from remanence.ops.scan.tensors import cpu_source
from remanence.ops.scan.tensors.cpu_source import TensorSource
from remanence.ops.scan.tensors.passes import BackwardPass, ForwardPass, make_both, make_forward
from remanence.ops.scan.tensors.tensor_trace import TracedTensorStep


@dataclass(frozen=True)
class CompiledStep:
    """A compiled kernel.

    Attributes:
        source: source of the kernel.
        of: the pass that the kernel computes.
        kernel: machine code of the kernel.
        lanes: number of samples in a block.
    """

    source: TensorSource
    of: ForwardPass | BackwardPass
    kernel: kernel.Kernel
    lanes: int


def choose_block_width(dtype: torch.dtype, batch: int, threads: int) -> int:
    """Return how many samples a block has: two registers if that leaves a block for every thread."""
    register = kernel.vector_width(BITS[dtype])
    return 2 * register if batch > register * threads else register


def choose_product_block(dtype: torch.dtype, lanes: int) -> int:
    """Return how many results of a product are computed together: as many as leave registers for the factors."""
    width = kernel.vector_width(BITS[dtype])
    registers = 32 if width * BITS[dtype] == 512 else 16
    return (registers - 3) // (lanes // width) - (registers == 16 and lanes == width)


def compile_forward(traced: TracedTensorStep, lanes: int) -> CompiledStep:
    """Compile the forward kernel for a call without a backward pass."""
    key = ("forward", lanes)
    if key not in traced.kernels:
        traced.kernels[key] = _compile_forward(make_forward(traced), traced, lanes)
    return traced.kernels[key]


def compile_both(traced: TracedTensorStep, lanes: int) -> tuple[CompiledStep, CompiledStep]:
    """Compile the forward kernel that saves nodes for the backward pass, and the backward kernel."""
    key = ("both", lanes)
    if key not in traced.kernels:
        there, back = make_both(traced)
        source = cpu_source.backward(back, lanes, choose_product_block(traced.dtype, lanes))
        traced.kernels[key] = _compile_forward(there, traced, lanes), _compile(source, back, traced, lanes)
    return traced.kernels[key]


def _compile_forward(there: ForwardPass, traced: TracedTensorStep, lanes: int) -> CompiledStep:
    source = cpu_source.forward(there, lanes, choose_product_block(traced.dtype, lanes))
    return _compile(source, there, traced, lanes)


def _compile(
    source: TensorSource, of: ForwardPass | BackwardPass, traced: TracedTensorStep, lanes: int
) -> CompiledStep:
    return CompiledStep(source, of, kernel.build(source, BITS[traced.dtype], lanes), lanes)
