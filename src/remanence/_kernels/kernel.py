"""Compile the source of a kernel to machine code that any thread may call."""

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.binding as llvm

from remanence._kernels import cache, entry, targets
from remanence._kernels.compiler import lower
from remanence._kernels.kernel_source import KernelSource


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel.

    Attributes:
        address: address of a C function, ``void (int64 *block)``.
        engine: LLVM's engine, which keeps the code in memory.
        call: the function as a Python callable.
    """

    address: int
    engine: object
    call: Callable[..., None]


@functools.cache
def vector_width(bits: int) -> int:
    """Return how many numbers of ``bits`` bits a vector register holds."""
    return targets.vector_bits(*_choose_processor()) // bits


def build(source: KernelSource, bits: int, lanes: int) -> Kernel:
    """Compile a kernel, or load it from disk if it was compiled before.

    Args:
        source: source of the kernel.
        bits: width of a number in bits, 32 or 64.
        lanes: number of numbers that are computed together.
    """
    parts = cache_key(source, bits, lanes)
    code = cache.load(parts)
    kernel = _load(code) if code is not None else None
    if kernel is None:
        code = _compile(source, bits, lanes)
        cache.save(parts, code)
        kernel = _load(code)
    assert kernel is not None
    return kernel


def cache_key(source: KernelSource, bits: int, lanes: int) -> tuple[str, ...]:
    """Return what the machine code of a kernel depends on, except for the versions of the compiler."""
    system = llvm.get_process_triple(), f"LLVM {llvm.llvm_version_info}"  # a home directory may serve several
    return (source.text, f"{bits} bits, {lanes} lanes", *_choose_processor(), *system)


@functools.cache
def _choose_processor() -> tuple[str, str]:
    return targets.choose_processor()


def _create_machine() -> llvm.TargetMachine:
    return targets.create_machine(*_choose_processor())


def _compile(source: KernelSource, bits: int, lanes: int) -> bytes:
    """Compile a kernel to an object file."""
    machine = _create_machine()
    return machine.emit_object(optimise(source, bits, lanes, machine))


def optimise(source: KernelSource, bits: int, lanes: int, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """Translate a kernel and its entry function to an optimised module for a target machine."""
    text, name = lower(source, bits, lanes)
    module = llvm.parse_assembly(text + entry.write_entry(name, source.arguments[3:], targets.family(machine.triple)))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.get_function(name).linkage = llvm.Linkage.internal
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def _load(code: bytes) -> Kernel | None:
    """Load an object file; return None if it does not contain a kernel."""
    _choose_processor()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _create_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(entry.NAME)
    if not address:
        return None
    return Kernel(address, engine, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address))
