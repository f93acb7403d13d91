"""Traces a step written in PyTorch to graphs of pointwise operations: the step and its derivative."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from remanence._torch import TorchDispatchMode, pytree
from remanence.ops.scan.aten import LOWERINGS, Emitter
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.pointwise_graph import Builder, Graph, eliminate_dead_code

Item = TypeVar("Item")
Recording = TypeVar("Recording")
Step: TypeAlias = Callable[..., tuple[Tensor, ...]]
"""``step(state, inputs, params)`` gives the new state; each is a tuple of tensors."""

FACTORIES = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}
ABOUT_SHAPE = {"is_same_size", "size", "sym_size", "stride", "sym_stride", "numel", "sym_numel", "storage_offset"}


class UntraceableError(Exception):
    """Raised if a step is not a fixed sequence of supported operations; the message names the first other one."""


class TracedStep:
    """A step as graphs of the new states and of the vector-Jacobian products.

    Args:
        step: ``step(state, inputs, params) -> new state``, in plain PyTorch.
        counts: numbers of states, inputs and parameters.
        batch: size of the batch.
        channels: number of channels.
        dtype: dtype of every tensor.

    Raises:
        UntraceableError: an operation is not pointwise or not supported, or the step does not compute the same in every
            call.
    """

    def __init__(self, step: Step, counts: tuple[int, int, int], batch: int, channels: int, dtype: torch.dtype):
        self.counts = counts
        self.dtype = dtype
        self.step = step
        self._shape = (batch, channels)
        self.forward = record_twice(lambda: self._record(self.step, self.counts, batch_of_params=False))
        self.kernels: dict[object, Any] = {}
        """What backends generated from the graphs, under keys of theirs."""
        self._vjps: dict[tuple[bool, ...], Graph] = {}

    def vjp(self, needs: tuple[bool, ...]) -> Graph:
        """Return the graph of gradients of all previous states, and of the inputs and parameters that need one.

        It has the placeholders of the step and a ``cotangent`` for each new state.

        Args:
            needs: for each state, input and parameter, in this order, whether its gradient is needed; those of states
                are always computed, since the loop over time carries them.
        """
        states = self.counts[0]
        wanted = [place < states or need for place, need in enumerate(needs)]
        key = tuple(wanted)
        if key not in self._vjps:
            outputs = [output for output, keep in zip(self._all_vjps.outputs, wanted, strict=True) if keep]
            self._vjps[key] = eliminate_dead_code(Graph(self._all_vjps.nodes, tuple(outputs)))
        return self._vjps[key]

    def split(self, flat: Sequence[Item]) -> tuple[tuple[Item, ...], tuple[Item, ...], tuple[Item, ...]]:
        """Split a sequence with an item for each state, input and parameter by kind."""
        states, inputs, _ = self.counts
        return tuple(flat[:states]), tuple(flat[states : states + inputs]), tuple(flat[states + inputs :])

    @cached_property
    def refuses_derivative(self) -> str | None:
        """The reason why the derivative cannot be traced, or None."""
        return find_refusal(lambda: self._all_vjps)

    @cached_property
    def _all_vjps(self) -> Graph:
        states, inputs, params = self.counts

        def gradients(state: Tensors, inputs: Tensors, params: Tensors, cotangents: Tensors) -> Tensors:
            # Parameters have a batch here, so that nothing is summed: the loop over time does that.
            primals = [x.requires_grad_() for x in (*state, *inputs, *params)]
            new = tuple(self.step(state, inputs, params))
            if not any(x.requires_grad for x in new):
                return tuple(torch.zeros_like(x) for x in primals)
            return torch.autograd.grad(Loss.apply(cotangents, *new), primals, materialize_grads=True)

        return self._record(gradients, (states, inputs, params, states), batch_of_params=True)

    @torch.inference_mode(False)  # in which composite operations would be recorded whole
    def _record(self, function: Callable[..., Tensors], counts: Sequence[int], *, batch_of_params: bool) -> Graph:
        batch, channels = self._shape
        recorder = _Recorder(self.dtype, (batch, channels))
        groups = []
        for kind, count in zip(("state", "input", "param", "cotangent"), counts, strict=False):
            shape = (channels,) if kind == "param" and not batch_of_params else (batch, channels)
            tensors = tuple(torch.ones(shape, dtype=self.dtype) for _ in range(count))
            for index, tensor in enumerate(tensors):
                recorder.placeholder(kind, index, tensor)
            groups.append(tensors)
        try:
            with isolate(), recorder:
                results = function(*groups)
        except UntraceableError:
            raise
        except Exception as error:
            raise UntraceableError(f"{type(error).__name__}: {error}") from error
        return recorder.builder.build_graph([recorder.find_result(result) for result in results])


_REPEATED: set[str] = set()
"""Graphs that two calls of a step agreed on; a step that is traced in every call is checked only once."""

_MOST_REPEATED = 1024


def record_twice(record: Callable[[], Recording]) -> Recording:
    """Record a step twice, and return the record if both are the same."""
    with _preserve_generators():
        first = record()
        text = str(first)
        if text not in _REPEATED and text != str(record()):
            raise UntraceableError(
                "it does something else in every call (it draws a random number, counts, or looks at a clock): "
                "compute that before the scan and pass it in inputs"
            )
    if len(_REPEATED) >= _MOST_REPEATED:
        _REPEATED.clear()
    _REPEATED.add(text)
    return first


@contextmanager
def isolate() -> Iterator[None]:
    """Isolate a step from the context of the scan.

    Grad mode is on, since a derivative needs it and a step may ask for it. Autocast is off, since the arithmetic is in
    the dtype of the scan. Hooks on saved tensors are not called: ``torch.utils.checkpoint`` would count the tensors of
    a trace, which does not happen again when it recomputes.
    """
    hooks = torch.autograd.graph.saved_tensors_hooks(_return_unchanged, _return_unchanged)
    with torch.enable_grad(), torch.autocast("cpu", enabled=False), hooks:
        yield


def _return_unchanged(tensor: Tensor) -> Tensor:
    return tensor


def find_refusal(derive: Callable[[], object]) -> str | None:
    """Return why a derivative cannot be recorded, or None."""
    try:
        derive()
    except UntraceableError as error:
        return f"its derivative cannot be recorded: {error}"
    return None


@contextmanager
def _preserve_generators() -> Iterator[None]:
    """Restore the random states of Python and NumPy afterwards; drawing from torch's is an error in a trace."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the one that steps may use)
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


class Loss(torch.autograd.Function):
    """A number with given gradients.

    ``torch.func.vjp``, and ``torch.autograd.grad`` with gradients as arguments, would import PyTorch's compiler or
    SymPy, which takes longer than everything else before the first result.
    """

    @staticmethod
    def forward(ctx: Any, cotangents: Tensors, *new: Tensor) -> Tensor:
        """Return 0, whatever the new states are."""
        ctx.cotangents = cotangents
        return new[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the given gradients."""
        return None, *ctx.cotangents


class _Recorder(TorchDispatchMode):
    """Runs every operation, and records what it does to an element (one channel of one sample)."""

    def __init__(self, dtype: torch.dtype, shape: tuple[int, int]):
        super().__init__()
        self.builder = Builder()
        self._dtype, self._shape = dtype, torch.Size(shape)
        self._places: dict[int, tuple[Tensor, int]] = {}  # the tensor is kept so that its id stays its own
        self._given: set[int] = set()

    def placeholder(self, kind: str, index: int, tensor: Tensor) -> None:
        self._given.add(tensor.untyped_storage().data_ptr())
        self.assign(tensor, self.builder.add(kind, value=index))

    def assign(self, tensor: Tensor, place: int) -> None:
        self._places[id(tensor)] = (tensor, place)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping would import the compiler, which takes more than a second

    def find_result(self, value: Any) -> int:
        if not isinstance(value, Tensor) or value.shape != self._shape or value.dtype != self._dtype:
            came = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise UntraceableError(f"a result that is not {self._dtype} {list(self._shape)}: {came}")
        return Emitter(self.builder).real(self._find_place(value))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        operands = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise UntraceableError(f"{name}: a random number")
        result = func(*args, **kwargs)
        if func._schema.is_mutable:
            name = self._in_place(name, args)
        outputs = [x for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]
        if not outputs:
            if name not in ABOUT_SHAPE and not all(self._is_constant(x) for x in operands):
                raise UntraceableError(f"{name}: a value that decides what is computed")
        elif name in FACTORIES or all(self._is_constant(x) for x in operands):
            for output in outputs:
                self.assign(output, self._make_constant(output, name))
        else:
            place = self._lower(name, func, args, kwargs, outputs[0])
            for output in outputs:  # a second output is a buffer for the derivative, which the lowering does not need
                self.assign(output, place)
        return result

    def _in_place(self, name: str, args: Any) -> str:
        """Return the operation that computes the new value, if nothing else sees the change, as in autograd's code."""
        target = args[0]
        storage = target.untyped_storage().data_ptr()
        shared = sum(tensor.untyped_storage().data_ptr() == storage for tensor, _ in self._places.values())
        if not name.endswith("_") or id(target) not in self._places or shared > 1 or storage in self._given:
            raise UntraceableError(f"{name}: an operation in place")
        return name[:-1]

    def _lower(self, name: str, func: Any, args: Any, kwargs: Any, output: Tensor) -> int:
        emitter = Emitter(self.builder)
        operands = [self._convert_operand(x) for x in fill_arguments(func, args, kwargs)]
        if output.dtype.is_floating_point and output.dtype != self._dtype:
            raise UntraceableError(f"{name}: a result of {output.dtype} in a step of {self._dtype}")
        if output.is_complex():
            raise UntraceableError(f"{name}: a complex result")
        if name == "_to_copy":
            return emitter.truth(operands[0]) if output.dtype == torch.bool else emitter.real(operands[0])
        if name in ("expand", "view", "_unsafe_view", "reshape"):
            if output.shape in (self._shape, args[0].shape):
                return operands[0]
            raise UntraceableError(f"{name}: a change of shape, {list(args[0].shape)} to {list(output.shape)}")
        if name not in LOWERINGS or func._overloadname == "decimals":
            raise UntraceableError(f"{name}: not a pointwise operation that a loop can be made of")
        if output.ndim not in (1, 2) or output.shape != self._shape[-output.ndim :]:
            raise UntraceableError(f"{name}: a result of shape {list(output.shape)}")
        return LOWERINGS[name](emitter, *operands)

    def _convert_operand(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return self._find_place(x)
        return self.builder.constant(x) if isinstance(x, bool | int | float) else x

    def _find_place(self, tensor: Tensor) -> int:
        if id(tensor) not in self._places:
            if tensor.requires_grad:
                raise UntraceableError("a tensor from outside that requires a gradient: pass it in params or inputs")
            self.assign(tensor, self._make_constant(tensor, "a tensor from outside"))
        return self._places[id(tensor)][1]

    def _is_constant(self, tensor: Tensor) -> bool:
        return self.builder.nodes[self._find_place(tensor)].op == "constant"

    def _make_constant(self, tensor: Tensor, name: str) -> int:
        values = tensor.detach().reshape(-1)
        if tensor.is_complex() or values.numel() == 0 or not torch.equal(values, values[:1].expand_as(values)):
            raise UntraceableError(f"{name}: a constant that is not one number: pass it in params or inputs")
        return self.builder.constant(values[0].item())


def fill_arguments(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """Return all arguments in the order of the schema, with defaults."""
    rest = func._schema.arguments[len(args) :]
    return [*args, *(kwargs.get(a.name, a.default_value) for a in rest)]
