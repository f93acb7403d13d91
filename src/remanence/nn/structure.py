"""Arrays that define the structure of a module: connections, a permutation, an order."""

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from remanence.errors import UserError
from remanence.wiring import Wiring

Device: TypeAlias = torch.device | str | int | None
"""A device as PyTorch accepts it; None is the default device."""

WIRING = ("adjacency", "sensory", "layer", "shape")


class Fixed(NamedTuple):
    """A constant array of a module.

    Attributes:
        array: its values.
        saved: whether the ``state_dict`` contains it; if not, it follows from the arguments of the module.
        follows: whether different values in a ``state_dict`` replace it; if not, loading them is an error.
    """

    array: np.ndarray
    saved: bool
    follows: bool


class Structured(nn.Module):
    """A module with constant arrays that are neither trained nor averaged, and that never lose their values.

    They are attributes, tensors on the device of the parameters, but not buffers: weight averaging ignores them
    (``torch.optim.swa_utils.AveragedModel(use_buffers=True)``), and they are restored after ``to("meta")``,
    ``to_empty`` or construction under ``torch.device("meta")``. A ``state_dict`` contains those that do not follow from
    the arguments; when it is loaded, either they replace those of the module, or a different structure is refused.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _wrap_init(cls.__init__)  # type: ignore[method-assign]

    def __init__(self) -> None:
        super().__init__()
        self._fixed: dict[str, Fixed] = {}
        # A hook, because ``load_state_dict(assign=True)`` loads the parameters of submodules after this module's own.
        self.register_load_state_dict_post_hook(_place_after_loading)

    def fix(self, name: str, array: np.ndarray, *, saved: bool = False, follows: bool = False) -> None:
        """Keep an array as the attribute ``name``.

        Args:
            name: name of the attribute, and of the entry in a ``state_dict``.
            array: its values.
            saved: see :class:`Fixed`; default: False.
            follows: see :class:`Fixed`; default: False.
        """
        array = np.array(array)
        array.flags.writeable = False
        self._fixed[name] = Fixed(array, saved, follows)
        self._place(name, torch.get_default_device())

    def fix_wiring(self, wiring: Wiring, *, follows: bool = False) -> None:
        """Keep a wiring as arrays ``wiring_adjacency`` and so on; :attr:`wiring` returns it."""
        for part in WIRING:
            if (value := getattr(wiring, part)) is not None:
                self.fix(f"wiring_{part}", np.asarray(value), saved=True, follows=follows)

    @property
    def wiring(self) -> Wiring:
        """The wiring of the module."""
        if "wiring_adjacency" not in self._fixed:
            raise AttributeError(f"{type(self).__name__} has no wiring")
        adjacency, sensory, layer, shape = (
            self._fixed[f"wiring_{part}"].array if f"wiring_{part}" in self._fixed else None for part in WIRING
        )
        assert adjacency is not None
        assert shape is not None
        return Wiring(adjacency, sensory, layer, tuple(shape.tolist()))

    def _place(self, name: str, device: torch.device) -> None:
        setattr(self, name, torch.from_numpy(self._fixed[name].array.copy()).to(device))

    def _place_all(self) -> None:
        like = next(self.parameters(), None)
        for name in self._fixed:
            self._place(name, torch.get_default_device() if like is None else like.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Structured":
        super()._apply(fn, recurse)
        self._place_all()
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, fixed in self._fixed.items():
            if fixed.saved:
                destination[prefix + name] = torch.from_numpy(fixed.array.copy())

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for name, fixed in list(self._fixed.items()):
            value = state_dict.pop(prefix + name, None) if fixed.saved else None
            if value is not None and (error := self._take(name, fixed, value)):
                error_msgs.append(f"{prefix}{name}: {error}")
        if error_msgs:
            return  # parameters of a different structure must not be loaded into this one
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _take(self, name: str, fixed: Fixed, value: Tensor) -> str | None:
        """Take a value from a ``state_dict``, or return why it is refused."""
        array = value.detach().cpu().numpy().astype(fixed.array.dtype)
        if array.shape != fixed.array.shape:
            return f"the state_dict has {list(array.shape)}, this module {list(fixed.array.shape)}"
        if not fixed.follows and not np.array_equal(array, fixed.array):
            return "the state_dict is that of another structure: build the module with the same wiring"
        self._fixed[name] = fixed._replace(array=array)
        return None


def _wrap_init(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``__init__`` so that it accepts ``device`` and ``dtype`` even if it does not declare them."""

    @functools.wraps(init)
    def make(
        self: Structured, *args: Any, device: Device = None, dtype: torch.dtype | None = None, **options: Any
    ) -> None:
        if dtype is not None and not dtype.is_floating_point:
            raise UserError(f"dtype must be a floating-point dtype, got {dtype}")
        with nullcontext() if device is None else torch.device(device):
            init(self, *args, **options)
        if dtype is not None:
            self.to(dtype)

    make.__signature__ = _add_placement(inspect.signature(init))  # type: ignore[attr-defined]
    return make


def _add_placement(signature: inspect.Signature) -> inspect.Signature:
    given = list(signature.parameters.values())
    rest = [each for each in given if each.kind is inspect.Parameter.VAR_KEYWORD]
    kind = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, kind, default=None, annotation=hint)
        for name, hint in (("device", Device), ("dtype", torch.dtype | None))
        if name not in signature.parameters
    ]
    return signature.replace(parameters=[*given[: len(given) - len(rest)], *added, *rest])


def _place_after_loading(module: nn.Module, incompatible_keys: Any) -> None:
    if isinstance(module, Structured):
        module._place_all()


def draw_permutation(size: int, seed: int = 0) -> np.ndarray:
    """Draw a permutation that is the same in every process and independent of the parameters.

    Args:
        size: number of elements.
        seed: seed of the permutation; default: 0.

    Returns:
        The indices 0 to size - 1 in random order.
    """
    return np.random.default_rng(seed).permutation(size)
