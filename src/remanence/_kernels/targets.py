"""The processor that kernels are compiled for: this one, or the one that Numba's environment variables name.

``NUMBA_CPU_NAME`` is an LLVM processor name, such as ``x86-64-v2``, ``haswell`` or ``skylake-avx512``.
``NUMBA_CPU_FEATURES`` are LLVM features, such as ``+avx2,-fma``. A name without features means those of that processor.
"""

import functools
import os

import llvmlite.binding as llvm

_ADD = """
define void @add(ptr %a) {
  %x = load <16 x i32>, ptr %a
  %y = add <16 x i32> %x, %x
  store <16 x i32> %y, ptr %a
  ret void
}
"""


def family(triple: str) -> str:
    """Return the processor family of an LLVM target triple: ``"x86"`` or ``"arm"`` (64 bits each), or its own name."""
    processor = triple.partition("-")[0]
    return {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}.get(processor, processor)


def is_x86() -> bool:
    """Return whether this process runs x86-64 code.

    :mod:`platform` names the machine instead, and an ARM machine may run such a process by translation.
    """
    return family(llvm.get_process_triple()) == "x86"


def choose_processor() -> tuple[str, str]:
    """Return name and features of the processor that kernels are compiled for."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    if not name:
        name = llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features().flatten() if features is None else features
    # This is a tuning option, not a feature: without it LLVM prefers narrow vectors on some processors.
    tuning = ["-prefer-256-bit"] if is_x86() else []
    return name, ",".join([part for part in (features or "").split(",") if part] + tuning)


def create_machine(name: str, features: str, triple: str | None = None) -> llvm.TargetMachine:
    """Create LLVM's code generator for a processor, on the system of a triple (default: this one)."""
    target = llvm.Target.from_triple(triple or llvm.get_process_triple())
    return target.create_target_machine(cpu=name, features=features, opt=2, reloc="pic", codemodel="small", jit=True)


@functools.cache
def vector_bits(name: str, features: str) -> int:
    """Return the width of a processor's vector registers, as seen in the code that LLVM generates for an addition."""
    assembly = create_machine(name, features).emit_assembly(llvm.parse_assembly(_ADD))
    return 512 if "%zmm" in assembly else 256 if "%ymm" in assembly else 128
