"""All that is used of PyTorch without being promised: where a new version may break us is here."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
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
