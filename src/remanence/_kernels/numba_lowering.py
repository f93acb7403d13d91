"""Numba's part in compiling a kernel: Python source to LLVM's language."""

import linecache
import math
import threading
from typing import Any

from numba.core import compiler, types
from numba.core.registry import cpu_target

from remanence._kernels.lanes import functions
from remanence._kernels.source import Source

_LOCK = threading.Lock()


def lowered(source: Source, bits: int, lanes: int) -> tuple[str, str]:
    """LLVM assembly of a kernel, not optimised yet, and the name of its function."""
    file = f"<remanence kernel {hash(source.text):x}>"
    linecache.cache[file] = (len(source.text), None, source.text.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {**functions(bits, lanes), "LANES": lanes, "SIZE": bits // 8}
    namespace |= {"inf": math.inf, "nan": math.nan}
    exec(compile(source.text, file, "exec"), namespace)
    function = next(value for name, value in namespace.items() if name in ("forward", "backward"))
    flags: Any = compiler.Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.enable_pyobject = False
    flags.error_model = "numpy"
    context: Any = cpu_target.target_context
    integers = (types.intp,) * len(source.arguments)
    with _LOCK:
        result = compiler.compile_extra(cpu_target.typing_context, context, function, integers, types.void, flags, {})
        return result.library.get_llvm_str(), result.fndesc.llvm_func_name
