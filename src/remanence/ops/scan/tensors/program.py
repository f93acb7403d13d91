"""The operations of a step on its parameters alone, which PyTorch runs once instead of at every time step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from remanence._torch import pytree

Key: TypeAlias = tuple[str, int, int]


class Ref(NamedTuple):
    """A tensor that a call takes: a ``param``, a ``total`` over batch and time, or a result of a ``call``."""

    kind: Literal["param", "total", "call"]
    number: int
    output: int = 0


@dataclass(frozen=True)
class Call:
    """One PyTorch operation; tensors among its arguments are :class:`Ref`."""

    function: Any
    args: Any
    kwargs: Any
    index: int


@dataclass
class Program:
    """Operations in the order in which a step called them; those that follow totals are linear in them."""

    calls: list[Call] = field(default_factory=list)

    def run(self, params: Sequence[Tensor], device: torch.device) -> "Values":
        """Compute every result, on this device."""
        values = Values(params, device)
        self.run_on(values)
        return values

    def run_on(self, values: "Values") -> None:
        """Add every result to the values."""
        for call in self.calls:
            kwargs = {name: _fill(value, values) for name, value in call.kwargs.items()}
            if kwargs.get("device") is not None:  # that of the trace
                kwargs["device"] = values.device
            results = call.function(*_fill(call.args, values), **kwargs)
            for output, result in enumerate(results if isinstance(results, tuple | list) else (results,)):
                values.put(Ref("call", call.index, output), result)


def _fill(value: Any, values: "Values") -> Any:
    """Replace references in arguments by tensors; pytree would take ten times as long, at every call."""
    if isinstance(value, Ref):
        return values.get(value)
    if isinstance(value, tuple | list):
        return [_fill(each, values) for each in value]
    return value


def _is_ref(value: Any) -> bool:
    return isinstance(value, Ref)


class Values:
    """The tensors of a running program."""

    def __init__(self, params: Sequence[Tensor], device: torch.device):
        self.device = device
        self._found: dict[Ref, Any] = {Ref("param", i): p for i, p in enumerate(params)}

    def put_total(self, index: int, total: Tensor) -> None:
        """Store a total."""
        self._found[Ref("total", index)] = total

    def get(self, ref: Ref) -> Tensor:
        """Return the tensor of a reference."""
        return self._found[ref]

    def put(self, ref: Ref, value: Any) -> None:
        """Store a result, on the device of the others."""
        self._found[ref] = value.to(self.device) if isinstance(value, Tensor) else value


def find_needed_calls(calls: Sequence[Call], wanted: Sequence[Ref]) -> list[Call]:
    """Return the calls that these results need."""
    open_ = {ref.number for ref in wanted if ref.kind == "call"}
    kept = []
    for call in reversed(calls):
        if call.index in open_:
            kept.append(call)
            refs = pytree.tree_leaves((call.args, call.kwargs), is_leaf=_is_ref)
            open_ |= {ref.number for ref in refs if isinstance(ref, Ref) and ref.kind == "call"}
    return kept[::-1]


def find_constant(tensor: Tensor) -> float | bool | None:
    """Return the number that a tensor has in every place, or None."""
    values = tensor.detach().reshape(-1)
    if tensor.is_complex() or values.numel() == 0 or not torch.equal(values, values[:1].expand_as(values)):
        return None
    number = values[0].item()
    return number if isinstance(number, bool) else float(number)
