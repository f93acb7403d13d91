"""All that is used of PyTorch without being promised: where a new version may break us is here."""

import itertools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._C import _functorch  # type: ignore[attr-defined]
from torch._compile import _disable_dynamo
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

__all__ = ["TorchDispatchMode", "pytree"]


def is_traced() -> bool:
    """Whether ``torch.jit.trace`` records the call."""
    return torch._C._is_tracing()


def is_dispatched() -> bool:
    """Whether a ``TorchDispatchMode`` is active."""
    return bool(torch._C._len_torch_dispatch_stack())


def is_in_functorch() -> bool:
    """Whether a transform of ``torch.func`` is under way."""
    return _functorch.peek_interpreter_stack() is not None


def is_in_forward_mode() -> bool:
    """Whether forward-mode differentiation is under way."""
    return forward_ad._current_level >= 0


def without_dynamo(function: Callable[..., Any]) -> Callable[..., Any]:
    """Exclude a function from compilation where ``torch.compile`` compiles its caller."""
    return _disable_dynamo(function)


def restore_dispatch() -> AbstractContextManager[Any]:
    """Return a context in which operations are dispatched as outside of any operator.

    A custom operator runs below autograd, and in compiled code below lazy conjugation and negation too.
    """
    return torch._C._ForceDispatchKeyGuard(*_OUTSIDE)


def disable_modes() -> AbstractContextManager[Any]:
    """Return a context in which tensors are real: no mode, such as that of fake tensors, sees what happens."""
    return _disable_current_modes()


def mark_constant(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Do what ``torch.compiler.assume_constant_result`` does, which would load the whole compiler."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def is_known_to_be(size: Any, value: int) -> bool:
    """Return whether a size is this number in every call of the graph that is being recorded."""
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # it loads sympy

    return statically_known_true(size == value)


def scan_node(
    step: Callable[[Any, Any], tuple[Any, Any]], state: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Record a loop over the first dimension of the inputs as one node of the graph; return outputs and final state.

    Args:
        step: ``step(state, inputs) -> (state, outputs)``, tuples of tensors.
        state: before the first step.
        inputs: at least one.
    """
    from torch._higher_order_ops.scan import scan  # it loads the compiler

    # Without annotations: the compiler would evaluate them.
    def advance(state, inputs):  # type: ignore[no-untyped-def]
        after, outputs = step(tuple(state), tuple(inputs))
        return [s.clone() for s in after], [y.clone() for y in outputs]

    def loop(state, inputs):  # type: ignore[no-untyped-def]
        return scan(advance, state, inputs)

    # Clones: none of the tensors that the node takes and returns may share memory.
    given = [s.clone() for s in state], [x.clone() for x in inputs]
    final, outputs = loop(*given) if torch.compiler.is_dynamo_compiling() else _capture(loop, *given)
    return tuple(outputs), tuple(final)


def _capture(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a way that finds the tensors in the closures of loops, as PyTorch does it.

    PyTorch itself takes the sizes of one loop for those of the next, as it knows a function by its place in a file; and
    refuses tensors that are constants of the exported program.
    """
    from torch._C._dynamo.eval_frame import set_fullgraph_compiled_frame_count
    from torch._higher_order_ops.utils import setup_compilation_env

    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_LOOPS)}")
    unique = FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)
    with setup_compilation_env() as make_eager:

        def compile_nothing(graph: Any, examples: Any) -> Callable[..., Any]:
            run = make_eager(graph, examples)
            return lambda *args: run(*(arg.clone() if type(arg) is Tensor else arg for arg in args))

        count = set_fullgraph_compiled_frame_count(0)
        try:
            return torch.compile(unique, backend=compile_nothing, fullgraph=True)(*args)
        finally:
            set_fullgraph_compiled_frame_count(count)


_LOOPS = itertools.count()


def surplus_keys(tensor: Tensor) -> str | None:
    """Return the dispatch keys of a tensor if it has one beyond those of a dense tensor on a CPU or on CUDA."""
    keys = torch._C._dispatch_keys(tensor)
    return str(keys) if keys.raw_repr() & ~_PLAIN_KEYS else None


def computes_in(dtype: torch.dtype) -> bool:
    """Whether oneDNN has an LSTM in bfloat16 or float16 for this CPU."""
    supported = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return supported[dtype]()


def _plain_keys() -> int:
    keys = torch._C._dispatch_keys(torch.empty(0)).raw_repr()
    for name in ("CUDA", "AutogradCUDA", "AutocastCUDA"):
        keys |= torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name)).raw_repr()
    return keys


_PLAIN_KEYS = _plain_keys()


def _dispatch_keys_of_a_new_thread() -> list[Any]:
    """Return which dispatch keys are included and excluded outside of all contexts, even if this is imported in one."""
    found: list[Any] = []

    def look() -> None:
        found.append(torch._C._dispatch_tls_local_include_set())
        found.append(torch._C._dispatch_tls_local_exclude_set())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found


_OUTSIDE = _dispatch_keys_of_a_new_thread()
