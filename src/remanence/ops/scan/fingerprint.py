"""Fingerprints of steps, so that a trace is reused until something that the step depends on changes."""

import functools
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from remanence._kernels.addressing import refuses

_FIXED = {"torch", "numpy", *sys.stdlib_module_names}
"""Packages whose contents do not change while a program runs."""

LARGEST_TABLE = 65_536

_PLAIN = (int, float, bool, str, bytes, complex, type(None))
_ABSENT = object()


def fingerprint(step: Callable[..., Any]) -> Hashable | None:
    """Return a key that is the same only while the step computes the same.

    It contains the code of the function, its default arguments, the values of its closure and the globals that it
    names, and recursively those of the functions among them.

    Returns:
        The key, or None if the step depends on a value that can change in place (an object, a list, a tensor of real
        numbers).
    """
    try:
        return _identify(step)
    except _UnknownError:
        return None


class _UnknownError(Exception):
    """A value that may change without its identity changing."""


def _identify(value: Any) -> Hashable:
    if isinstance(value, types.FunctionType):
        return _recall(value)
    if isinstance(value, functools.partial):  # layers make one in every call
        parts = [_identify(x) for x in (value.func, *value.args, *value.keywords.values())]
        return "partial", tuple(value.keywords), tuple(parts)
    return _make_key(value, (), _Uses())


class _Uses:
    """The objects that a key was computed from; the key stays valid while none of them changes."""

    def __init__(self) -> None:
        self.entries: list[tuple[dict[str, Any], str, Any]] = []
        self.cells: list[tuple[types.CellType, Any]] = []
        self.functions: list[tuple[types.FunctionType, Any, Any, Any, int]] = []
        self.has_contents = False
        """Whether the key depends on contents that can change in place."""

    def are_unchanged(self) -> bool:
        """Return whether a new key would be the same; faster than making one."""
        return (
            all(space.get(name, _ABSENT) is value for space, name, value in self.entries)
            and all(_get_contents(cell) is value for cell, value in self.cells)
            and all(
                f.__code__ is code
                and f.__defaults__ is given
                and f.__kwdefaults__ is named
                and len(named or ()) == count
                for f, code, given, named, count in self.functions
            )
        )


class _Key:
    """A key that is hashed once."""

    def __init__(self, parts: Hashable):
        self.parts, self._hash = parts, hash(parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Key) and self.parts == other.parts)


_RECALLED: OrderedDict[types.FunctionType, tuple[_Key, _Uses]] = OrderedDict()
_KEEP = 256


def _recall(function: types.FunctionType) -> _Key:
    """Return the key of a function, an earlier one if it still holds."""
    found = _RECALLED.get(function)
    if found is not None and found[1].are_unchanged():
        return found[0]
    uses = _Uses()
    key = _Key(_make_key_of_function(function, (), uses))
    if not uses.has_contents:
        _RECALLED[function] = key, uses
        if len(_RECALLED) > _KEEP:
            _RECALLED.popitem(last=False)
    return key


def _make_key(value: Any, inside: tuple[types.CodeType, ...], uses: _Uses) -> Hashable:
    if isinstance(value, _PLAIN):
        return type(value), repr(value)  # repr: -0.0 is not 0.0, and NaN equals itself
    if isinstance(value, types.FunctionType):
        return _make_key_of_function(value, inside, uses)
    if isinstance(value, functools.partial):
        uses.has_contents |= bool(value.keywords)
        arguments = [_make_key(x, inside, uses) for x in (value.func, *value.args, *value.keywords.values())]
        return "partial", tuple(value.keywords), tuple(arguments)
    if isinstance(value, types.BuiltinFunctionType) or _is_of_torch(value) or _is_fixed(value):
        return value
    if type(value) is Tensor and _is_small_table(value):
        uses.has_contents = True
        return "table", value.dtype, tuple(value.shape), value.numpy().tobytes()
    if type(value) is Tensor and _is_table_elsewhere(value):
        return _Same(value, value._version)
    if isinstance(value, tuple | frozenset):
        return type(value), tuple(_make_key(x, inside, uses) for x in value)
    raise _UnknownError


def _is_fixed(value: Any) -> bool:
    """Return whether a module or class does not change while the program runs; named tuples do not."""
    if isinstance(value, types.ModuleType):
        return value.__name__.split(".")[0] in _FIXED
    if isinstance(value, type):
        return value.__module__.split(".")[0] in _FIXED or (issubclass(value, tuple) and hasattr(value, "_fields"))
    return False


def _is_small_table(value: Tensor) -> bool:
    """Return whether a tensor has few enough whole numbers or truth values to compare each time, such as a mask."""
    return value.device.type == "cpu" and value.numel() <= LARGEST_TABLE and _is_table(value)


def _is_table_elsewhere(value: Tensor) -> bool:
    """Return whether a tensor of whole numbers or truth values is on a GPU, from which it is not read each time."""
    return value.device.type == "cuda" and not value.is_inference() and _is_table(value)


def _is_table(value: Tensor) -> bool:
    is_plain = value.layout == torch.strided and refuses([value]) is None
    return is_plain and not value.is_floating_point() and not value.is_complex()


@dataclass(frozen=True, eq=False)
class _Same:
    """A tensor that is the same object as before, and has not been changed.

    Attributes:
        tensor: the tensor, kept alive so that no other tensor gets its identity.
        version: number of in-place changes of the tensor so far.
    """

    tensor: Tensor
    version: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.tensor is self.tensor and other.version == self.version

    def __hash__(self) -> int:
        return hash((id(self.tensor), self.version))


def _is_of_torch(value: Any) -> bool:
    return callable(value) and (type(value).__module__ or "").startswith("torch._ops")


def _make_key_of_function(function: types.FunctionType, inside: tuple[types.CodeType, ...], uses: _Uses) -> Hashable:
    code, defaults, keywords = function.__code__, function.__defaults__, function.__kwdefaults__
    if code in inside:  # recursion: the code is in the key already
        return code
    if (function.__module__ or "").split(".")[0] == "torch":
        return function
    inside = (*inside, code)
    uses.functions.append((function, code, defaults, keywords, len(keywords or ())))
    keywords = keywords or {}
    uses.entries += [(keywords, *item) for item in keywords.items()]
    cells = [(cell, _get_contents(cell)) for cell in function.__closure__ or ()]
    uses.cells += cells
    return (
        code,
        tuple(_make_key(value, inside, uses) for _, value in cells),
        tuple(_make_key(x, inside, uses) for x in defaults or ()),
        tuple((name, _make_key(x, inside, uses)) for name, x in keywords.items()),
        _make_key_of_globals(function.__globals__, _find_names(code), inside, uses),
    )


def _make_key_of_globals(
    space: dict[str, Any], names: tuple[str, ...], inside: tuple[types.CodeType, ...], uses: _Uses
) -> Hashable:
    """Return a key of the globals with these names, and of the attributes with these names in modules among them."""
    found = []
    for name in names:
        value = space.get(name, _ABSENT)
        uses.entries.append((space, name, value))
        if value is _ABSENT:
            continue
        if isinstance(value, types.ModuleType) and not _is_fixed(value):
            held = vars(value)
            uses.entries += [(held, n, held.get(n, _ABSENT)) for n in names]
            found.append((name, value, tuple((n, _make_key(held[n], inside, uses)) for n in names if n in held)))
        else:
            found.append((name, _make_key(value, inside, uses)))
    return tuple(found)


def _get_contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError as empty:
        raise _UnknownError from empty


@functools.lru_cache(maxsize=1024)
def _find_names(code: types.CodeType) -> tuple[str, ...]:
    """Return every name that the code, or code inside it, may look up among the globals."""
    inner = (
        name for constant in code.co_consts if isinstance(constant, types.CodeType) for name in _find_names(constant)
    )
    return tuple(dict.fromkeys((*code.co_names, *inner)))
