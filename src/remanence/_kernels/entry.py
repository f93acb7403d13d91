"""The entry function of a kernel, which every thread calls: it takes parts of the work until none is left."""

from collections.abc import Sequence

NAME = "remanence_entry"

_ENTRY = """
{declarations}
define void @{name}(ptr %block) {{
start:
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
  call void @"{kernel}"(i64 %part, i64 %begin, i64 %end{arguments})
  br label %next
done:
{restore}
  ret void
}}
"""

_X86 = {
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
"""The bits FTZ (results) and DAZ (operands) of the register MXCSR."""

_ARM = {
    "declarations": "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)",
    "flush": """
  %before = call i64 @llvm.aarch64.get.fpcr()
  %flushing = or i64 %before, 16777216
  call void @llvm.aarch64.set.fpcr(i64 %flushing)
""",
    "restore": "  call void @llvm.aarch64.set.fpcr(i64 %before)",
}
"""The bit FZ (operands and results) of the register FPCR."""

FLUSH = {"x86": _X86, "arm": _ARM}
"""While a kernel runs, subnormal numbers count as 0 on processors of these families.

Vanishing gradients become subnormal, and many CPUs take a hundred cycles for an operation on such a number.
"""


def write_entry(kernel: str, arguments: Sequence[str], family: str) -> str:
    """Write the entry function as LLVM assembly; any number of threads may call it with the same argument block.

    The block contains the number of parts taken so far, the number of parts, the number of units of work, and then
    the arguments of the kernel after ``part, begin, end``.

    Args:
        kernel: name of the kernel's function.
        arguments: names of the kernel's arguments after the first three.
        family: family of processors, see :data:`FLUSH`.
    """
    loads = "\n".join(
        f"  %at.{i} = getelementptr i64, ptr %block, i64 {i + 3}\n  %arg.{i} = load i64, ptr %at.{i}"
        for i in range(len(arguments))
    )
    passed = "".join(f", i64 %arg.{i}" for i in range(len(arguments)))
    around = FLUSH.get(family) or dict.fromkeys(_X86, "")
    return _ENTRY.format(name=NAME, kernel=kernel, loads=loads, arguments=passed, **around)
