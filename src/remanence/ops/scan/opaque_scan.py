"""A scan as one node of compiled code."""

import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from remanence._torch import mark_constant
from remanence.errors import UserError
from remanence.ops import opaque_call
from remanence.ops.opaque_call import Description
from remanence.ops.scan.fingerprint import fingerprint
from remanence.ops.scan.layout import Group, Tensors, list_tensors
from remanence.ops.scan.trace import Step

Run: TypeAlias = Callable[..., tuple[Tensors, Tensors]]
Counts: TypeAlias = tuple[int, int | None, int | None]
Options: TypeAlias = tuple[tuple[str, str | int | None], ...]


@dataclass(frozen=True)
class OpaqueScan:
    """A scan with all its arguments that are not tensors, as :mod:`remanence.ops.opaque_call` runs it.

    Attributes:
        run: :func:`remanence.scan`.
        make_step: returns the step of the scan.
        counts: numbers of tensors of state, inputs and params; None for a group that is one tensor.
        options: the other arguments of the scan.
    """

    run: Run
    make_step: Callable[[], Step]
    counts: Counts
    options: Options

    def run_flat(self, tensors: Sequence[Tensor], names: str) -> list[Tensor]:
        """Run the scan."""
        rest = list(tensors)
        state, inputs, params = (_take(rest, count) for count in self.counts)
        options: dict[str, Any] = dict(self.options)
        for name in names.split(",") if names else []:
            options[name] = tuple(_take(rest, len(state))) if name == "reset_state" else rest.pop(0)
        states, final = self.run(self.make_step(), inputs, state, params, **options)
        _refuse_other_leaves([*states, *final], tensors)
        return [*states, *final]

    def describe_flat(self, tensors: Sequence[Tensor], names: str, autocast_dtype: str) -> list[Description]:
        """Describe the states over time and the last ones."""
        state = tensors[: self.counts[0]]
        batch, time = tensors[self.counts[0]].shape[:2]
        is_widened = autocast_dtype and state[0].dtype in (torch.bfloat16, torch.float16)
        dtype = torch.float32 if is_widened else state[0].dtype
        return [*(((batch, time, *s.shape[1:]), dtype) for s in state), *((s.shape, dtype) for s in state)]


def _take(tensors: list[Tensor], count: int | None) -> Any:
    """Remove the first tensors: a tuple of so many, or one."""
    if count is None:
        return tensors.pop(0)
    taken = tuple(tensors[:count])
    del tensors[:count]
    return taken


def _refuse_other_leaves(results: Sequence[Tensor], given: Sequence[Tensor]) -> None:
    """Raise a ``ValueError`` if a tensor would lose its gradient because it is not an input of the compiled code."""
    own, seen = {id(tensor) for tensor in given}, set()
    found = [result.grad_fn for result in results if result.grad_fn is not None]
    while found:
        node = found.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in own:
            raise UserError(
                f"the step of a scan in torch.compile uses a tensor {list(leaf.shape)} that requires a gradient and is "
                "none of its arguments: pass it in params or inputs"
            )
        found += [after for after, _ in node.next_functions if after is not None]


_SCANS: dict[Hashable, tuple[OpaqueScan, int]] = {}


@mark_constant
def _register(run: Run, step: Step, counts: Counts, options: Options) -> int:
    """Return the number of a scan; the same for steps that do the same."""
    key = (fingerprint(step) or step, counts, options)
    return _number(key, OpaqueScan(run, lambda: step, counts, options))


@mark_constant
def _register_method(
    run: Run,
    function: Callable[..., Any],
    owner: Any,
    arguments: tuple[Any, ...],
    named: tuple[tuple[str, Any], ...],
    counts: Counts,
    options: Options,
) -> int:
    """Return the number of a scan whose step is a method, which may have some arguments; the owner is not kept."""
    key = (function, id(owner), arguments, named, counts, options)
    if key not in _SCANS:
        weakref.finalize(owner, _SCANS.pop, key, None)
    held = weakref.ref(owner)

    def make_step() -> Step:
        return partial(MethodType(function, held()), *arguments, **dict(named))

    return _number(key, OpaqueScan(run, make_step, counts, options))


def _number(key: Hashable, scan: OpaqueScan) -> int:
    if key not in _SCANS:
        _SCANS[key] = scan, opaque_call.register(scan)
    return _SCANS[key][1]


def scan_opaquely(
    run: Run,
    step: Step,
    inputs: Group,
    state: Tensors,
    params: Group,
    given: Mapping[str, Tensor | Sequence[Tensor] | None],
    options: Options,
) -> tuple[Tensors, Tensors]:
    """Run a scan as one node of the graph that is being compiled.

    Args:
        run: :func:`remanence.scan`.
        step: step of the scan.
        inputs: inputs, [batch, time, ...] each, or all in one tensor.
        state: state before the first step, [batch, ...] each.
        params: params of any shape, or all in one tensor.
        given: the optional tensors of the scan by name, such as ``reset``; None if they are not given.
        options: names and values of its other arguments.
    """
    of_inputs, of_params = (None if isinstance(each, Tensor) else len(each) for each in (inputs, params))
    counts = len(state), of_inputs, of_params
    arguments, named, method = (), (), step
    if isinstance(step, partial):
        arguments, named, method = step.args, tuple(step.keywords.items()), step.func
    if isinstance(method, MethodType):
        number = _register_method(run, method.__func__, method.__self__, arguments, named, counts, options)
    else:
        number = _register(run, step, counts, options)
    tensors = [*state, *list_tensors(inputs), *list_tensors(params)]
    names = []
    for name, value in given.items():
        if value is not None:
            names.append(name)
            tensors += [value] if isinstance(value, Tensor) else list(value)
    results = opaque_call.call(number, tensors, ",".join(names))
    return tuple(results[: len(state)]), tuple(results[len(state) :])
