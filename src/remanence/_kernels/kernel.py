"""From the source of a kernel to machine code that any thread may call."""

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.binding as llvm

from remanence._kernels import cache, entry, targets
from remanence._kernels.compiler import lowered
from remanence._kernels.source import Source


@dataclass(frozen=True)
class Kernel:
    """Compiled code.

    Attributes:
        address: of a C function, ``void (int64 *block)``.
        engine: keeps the code in memory.
    """

    address: int
    engine: object
    call: Callable[..., None]


@functools.cache
def register(bits: int) -> int:
    """How many numbers a vector register holds."""
    return targets.vector_bits(*_machine()) // bits


def build(source: Source, bits: int, lanes: int) -> Kernel:
    """Machine code of a kernel for numbers of so many bits, from the disk if it was compiled before.

    Args:
        source: the function.
        bits: of a number.
        lanes: numbers that are computed together.
    """
    parts = identity(source, bits, lanes)
    code = cache.load(parts)
    kernel = _loaded(code) if code is not None else None
    if kernel is None:
        code = _compile(source, bits, lanes)
        cache.save(parts, code)
        kernel = _loaded(code)
    assert kernel is not None
    return kernel


def identity(source: Source, bits: int, lanes: int) -> tuple[str, ...]:
    """What the machine code of a kernel depends on, the versions of the packages that compile it apart."""
    system = llvm.get_process_triple(), f"LLVM {llvm.llvm_version_info}"  # a home directory may serve several
    return (source.text, f"{bits} bits, {lanes} lanes", *_machine(), *system)


@functools.cache
def _machine() -> tuple[str, str]:
    return targets.chosen()


def _target() -> llvm.TargetMachine:
    return targets.machine(*_machine())


def _compile(source: Source, bits: int, lanes: int) -> bytes:
    """An object file."""
    machine = _target()
    return machine.emit_object(optimised(source, bits, lanes, machine))


def optimised(source: Source, bits: int, lanes: int, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """A kernel and the function that threads enter, ready for this machine to be written down."""
    text, name = lowered(source, bits, lanes)
    module = llvm.parse_assembly(text + entry.text(name, source.arguments[3:], targets.family(machine.triple)))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.get_function(name).linkage = llvm.Linkage.internal
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def _loaded(code: bytes) -> Kernel | None:
    """A kernel ready to be called; None if this is the code of something else."""
    _machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(entry.NAME)
    if not address:
        return None
    return Kernel(address, engine, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address))
