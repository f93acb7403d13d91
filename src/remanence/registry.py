"""Registries of layers and tasks by name, ours and those of users."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import entry_points
from types import NoneType, UnionType
from typing import Any, Generic, SupportsFloat, SupportsIndex, TypeVar, Union, get_args, get_origin, get_type_hints

from remanence.errors import UserError

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """Names and the factories behind them; others join through an entry point or as ``package.module:Name``.

    Args:
        kind: what is registered, for error messages ("layer").
        group: the entry point group from which installed packages add their own ("remanence.layers").
        base: the base class of all imported classes; nothing else that can be imported is ever called.
    """

    def __init__(self, kind: str, group: str, base: type):
        self.kind = kind
        self.group = group
        self.base = base
        self._own: dict[str, Callable[[], Callable[..., Item]]] = {}

    def add(self, name: str, factory: Callable[..., Item] | str, **options: object) -> None:
        """Register a factory.

        Args:
            name: the name.
            factory: the factory, or ``package.module:Name`` of one that is imported when it is first used.
            options: arguments of the factory that belong to the name.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._own:
            raise UserError(f"a {self.kind} named {name!r} is registered already")
        self._own[name] = partial(self._load, factory, options)

    def _load(self, factory: Callable[..., Item] | str, options: Mapping[str, object]) -> Callable[..., Item]:
        found = self._import(factory) if isinstance(factory, str) else factory
        return partial(found, **options) if options else found

    @cached_property
    def _plugins(self) -> dict[str, Callable[[], Callable[..., Item]]]:
        return {entry.name: entry.load for entry in entry_points(group=self.group)}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._own, *self._plugins}))

    def __getitem__(self, name: str) -> Callable[..., Item]:
        """Look up the factory called ``name``; ``package.module:Name`` is imported.

        Raises:
            ValueError: there is none; the message names the nearest ones.
        """
        if ":" in name:
            return self._import(name)
        load = self._own.get(name) or self._plugins.get(name)
        if load is not None:
            return load()
        raise make_unknown_error(self.kind, name, self)

    def create(self, name: str, /, **options: object) -> Item:
        """Call the factory called ``name`` with these options.

        Raises:
            ValueError: no such name, an option that the factory does not have or lacks, or one of a wrong kind.
        """
        factory = self[name]
        try:
            inspect.signature(factory).bind(**options)
        except TypeError as error:
            raise UserError(f"{self.kind} {name!r}: {error}") from error
        try:
            return factory(**options)
        except TypeError as error:
            if wrong := find_misfit(factory, options):
                raise UserError(f"{self.kind} {name!r}: {wrong}") from error
            raise

    def _import(self, path: str) -> Callable[..., Item]:
        module_name, _, attribute = path.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, TypeError, ValueError) as error:  # the last two: odd names
            raise UserError(f"no {self.kind} could be imported from {path!r}: {error}") from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            base = f"{self.base.__module__}.{self.base.__qualname__}"
            raise UserError(f"{path!r} is not a {self.kind}: expected a subclass of {base}")
        return found


def find_misfit(factory: Callable[..., object], options: Mapping[str, object]) -> str | None:
    """Describe the first option whose value does not match the factory's type hints; None if all match."""
    function = factory.func if isinstance(factory, partial) else factory
    try:
        hints = get_type_hints(function.__init__ if isinstance(function, type) else function)
    except NameError:  # a name that is known to type checkers only
        return None
    for option, value in options.items():
        if option in hints and not matches_hint(value, hints[option]):
            kind = getattr(hints[option], "__name__", None) or str(hints[option])
            return f"{option} should be {kind}, got {value!r}"
    return None


def matches_hint(value: object, hint: Any) -> bool:
    """Whether a value is of a kind; where that cannot be told, it is taken to be."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(matches_hint(value, each) for each in arguments)
    if hint in (int, float):
        return isinstance(value, SupportsIndex if hint is int else SupportsFloat) and not isinstance(value, bool | str)
    if hint in (bool, str, NoneType):
        return isinstance(value, hint)
    if origin in (list, tuple, Sequence) and arguments:
        return isinstance(value, list | tuple) and all(matches_hint(each, arguments[0]) for each in value)
    return True


def refuse_imports(names: Iterable[str], where: object) -> None:
    """Refuse names that would import a module, in files that may come from someone else.

    Raises:
        ValueError: there is one.
    """
    for name in names:
        if ":" in name:
            raise UserError(
                f"{where} names {name!r}, which runs code from outside this package: pass --allow-import "
                "(in Python, allow_import=True) if you trust it"
            )


def find_nearest(name: str, known: Iterable[str], cutoff: float = 0.4) -> list[str]:
    """Return up to three known names that resemble this one, in at least ``cutoff`` of their letters.

    Those with the same letters in another order come first.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=max(len(known), 1), cutoff=cutoff)
    return sorted(near, key=lambda each: sorted(each) != sorted(name))[:3]


def make_unknown_error(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Create the error for an unknown name, with the nearest known names."""
    known = sorted(known)
    near = find_nearest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"
    return UserError(f"unknown {kind} {name!r}; {hint}")
