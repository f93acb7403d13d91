"""What a step depends on, so that a trace can be kept until something of it changes."""

import functools
import types
from collections.abc import Callable, Hashable
from typing import Any

_PLAIN = (int, float, bool, str, bytes, complex, type(None))


def fingerprint(step: Callable[..., Any]) -> Hashable | None:
    """A key that is the same only while the step does the same.

    It holds the code of the function, its default arguments, the values it closes over and the globals that it
    names, and so on for the functions among them.

    Returns:
        The key, or None where a value that the step sees could change without notice (an object, a list, a tensor).
    """
    try:
        return _key(step, ())
    except _UnknownError:
        return None


class _UnknownError(Exception):
    """A value that may change without its identity changing."""


def _key(value: Any, inside: tuple[types.CodeType, ...]) -> Hashable:
    if isinstance(value, _PLAIN):
        return type(value), repr(value)  # repr: -0.0 is not 0.0, and NaN equals itself
    if isinstance(value, types.FunctionType):
        return _function_key(value, inside)
    if isinstance(value, functools.partial):
        arguments = [_key(x, inside) for x in (value.func, *value.args, *value.keywords.values())]
        return "partial", tuple(value.keywords), tuple(arguments)
    if isinstance(value, types.ModuleType | types.BuiltinFunctionType | type) or _is_of_torch(value):
        return value
    if isinstance(value, tuple | frozenset):
        return type(value), tuple(_key(x, inside) for x in value)
    raise _UnknownError


def _is_of_torch(value: Any) -> bool:
    return callable(value) and (type(value).__module__ or "").startswith("torch._ops")


def _function_key(function: types.FunctionType, inside: tuple[types.CodeType, ...]) -> Hashable:
    code = function.__code__
    if code in inside:  # recursion: said once
        return code
    if (function.__module__ or "").split(".")[0] == "torch":
        return function
    inside = (*inside, code)
    cells = tuple(_key(_content(cell), inside) for cell in function.__closure__ or ())
    defaults = tuple(_key(x, inside) for x in function.__defaults__ or ())
    keywords = tuple((name, _key(x, inside)) for name, x in (function.__kwdefaults__ or {}).items())
    named = function.__globals__
    seen = tuple((name, _key(named[name], inside)) for name in _names(code) if name in named)
    return code, cells, defaults, keywords, seen


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError as empty:
        raise _UnknownError from empty


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """Every name that the code, or code inside it, may look up among the globals."""
    inner = (name for constant in code.co_consts if isinstance(constant, types.CodeType) for name in _names(constant))
    return tuple(dict.fromkeys((*code.co_names, *inner)))
