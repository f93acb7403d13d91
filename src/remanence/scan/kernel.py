"""From the source of a kernel to machine code that any thread may call."""

import ctypes
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import llvmlite.binding as llvm

from remanence.scan import cache, targets

ENTRY = """
{declarations}
define void @remanence_entry(ptr %block) {{
start:
  %nothing = alloca ptr
{flush}
  br label %next
next:
  %part = atomicrmw add ptr %block, i64 1 seq_cst
  %parts_at = getelementptr i64, ptr %block, i64 1
  %parts = load i64, ptr %parts_at
  %units_at = getelementptr i64, ptr %block, i64 2
  %units = load i64, ptr %units_at
  %more = icmp slt i64 %part, %parts
  br i1 %more, label %work, label %done
work:
  %begin.0 = mul i64 %part, %units
  %begin = udiv i64 %begin.0, %parts
  %end.0 = add i64 %begin.0, %units
  %end = udiv i64 %end.0, %parts
{loads}
  %ignored = call i32 @"{kernel}"(ptr %nothing, ptr %nothing, i64 %part, i64 %begin, i64 %end{arguments})
  br label %next
done:
{restore}
  ret void
}}
"""
"""Takes parts until none is left, so that any number of threads may enter with the same block.

The block: the counter of parts taken, how many parts, how many units (a block of lanes of a sample) they share, then
what the kernel takes after ``part, begin, end``.
"""


@runtime_checkable
class Source(Protocol):
    """A function to be compiled."""

    @property
    def text(self) -> str:
        """Python; all arguments are integers."""
        ...

    @property
    def arguments(self) -> Sequence[str]:
        """Their names, in order, ``part``, ``begin`` and ``end`` first."""
        ...


_FLUSH = {
    "declarations": "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)",
    "flush": """
  %before = alloca i32
  %during = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %before)
  %mode = load i32, ptr %before
  %flushing = or i32 %mode, 32832
  store i32 %flushing, ptr %during
  call void @llvm.x86.sse.ldmxcsr(ptr %during)
""",
    "restore": "  call void @llvm.x86.sse.ldmxcsr(ptr %before)",
}
"""Numbers too small to be normal count as 0 while a kernel runs.

Gradients that vanish pass through them, and CPUs take a hundred cycles for an operation on one.
"""


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
def lane_count(bits: int) -> int:
    """How many channels a scan computes together: two registers full, so that one's latency hides the other's."""
    return 2 * register(bits)


@functools.cache
def register(bits: int) -> int:
    """How many numbers a vector register holds."""
    return targets.vector_bits(*_machine()) // bits


def build(source: Source, bits: int, lanes: int | None = None) -> Kernel:
    """Machine code of a kernel for numbers of so many bits, from the disk if it was compiled before.

    Args:
        source: the function.
        bits: of a number.
        lanes: numbers that are computed together; default: :func:`lane_count`.
    """
    parts = identity(source, bits, lanes)
    code = cache.load(parts)
    kernel = _loaded(code) if code is not None else None
    if kernel is None:
        code = _compile(source, bits, lanes or lane_count(bits))
        cache.save(parts, code)
        kernel = _loaded(code)
    assert kernel is not None
    return kernel


def identity(source: Source, bits: int, lanes: int | None = None) -> tuple[str, ...]:
    """What the machine code of a kernel depends on, the versions of the packages that compile it apart."""
    system = llvm.get_process_triple(), f"LLVM {llvm.llvm_version_info}"  # a home directory may serve several
    return (source.text, f"{bits} bits, {lanes or lane_count(bits)} lanes", *_machine(), *system)


@functools.cache
def _machine() -> tuple[str, str]:
    return targets.chosen()


def _target() -> llvm.TargetMachine:
    return targets.machine(*_machine())


def _compile(source: Source, bits: int, lanes: int) -> bytes:
    """An object file."""
    from remanence.scan.numba_lowering import lowered  # Numba takes half a second to import

    text, name = lowered(source, bits, lanes)
    passed = source.arguments[3:]
    loads = "\n".join(
        f"  %at.{i} = getelementptr i64, ptr %block, i64 {i + 3}\n  %arg.{i} = load i64, ptr %at.{i}"
        for i in range(len(passed))
    )
    arguments = "".join(f", i64 %arg.{i}" for i in range(len(passed)))
    around = _FLUSH if targets.is_x86() else dict.fromkeys(_FLUSH, "")
    module = llvm.parse_assembly(text + ENTRY.format(loads=loads, kernel=name, arguments=arguments, **around))
    module.get_function(name).linkage = llvm.Linkage.internal
    machine = _target()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)


def _loaded(code: bytes) -> Kernel | None:
    """A kernel ready to be called; None if this is the code of something else."""
    _machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address("remanence_entry")
    if not address:
        return None
    return Kernel(address, engine, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address))
