"""Which processor machine code is written for: this one, or the one that Numba's variables name.

``NUMBA_CPU_NAME`` is a name of LLVM's, such as ``x86-64-v2``, ``haswell`` or ``skylake-avx512``; ``NUMBA_CPU_FEATURES``
are features of LLVM's, such as ``+avx2,-fma``. A name without features means what that processor has.
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
    """``"x86"`` or ``"arm"`` (64 bits each) or whatever else LLVM's name of a system begins with."""
    processor = triple.partition("-")[0]
    return {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}.get(processor, processor)


def is_x86() -> bool:
    """Whether this process is one for processors of the x86-64 family.

    Not asked of :mod:`platform`, which names the machine: an ARM machine may run such a process, by translation.
    """
    return family(llvm.get_process_triple()) == "x86"


def chosen() -> tuple[str, str]:
    """Name and features of the processor that kernels are compiled for."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    if not name:
        name = llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features().flatten() if features is None else features
    # A tuning of the compiler's, not a feature: narrow vectors where the processor has wide ones.
    tuning = ["-prefer-256-bit"] if is_x86() else []
    return name, ",".join([part for part in (features or "").split(",") if part] + tuning)


def machine(name: str, features: str, triple: str | None = None) -> llvm.TargetMachine:
    """What writes machine code for this processor, on the system of that triple (default: this one)."""
    target = llvm.Target.from_triple(triple or llvm.get_process_triple())
    return target.create_target_machine(cpu=name, features=features, opt=2, reloc="pic", codemodel="small", jit=True)


@functools.cache
def vector_bits(name: str, features: str) -> int:
    """Width of this processor's vector registers, by the code that LLVM writes to add whole numbers."""
    assembly = machine(name, features).emit_assembly(llvm.parse_assembly(_ADD))
    return 512 if "%zmm" in assembly else 256 if "%ymm" in assembly else 128
