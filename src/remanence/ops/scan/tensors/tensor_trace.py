"""Traces a step on tensors of any shape to graphs of what one sample needs: the step and its derivative."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor

from remanence._torch import TorchDispatchMode, pytree
from remanence.ops.scan.aten import LOWERINGS
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.tensors.moves import PUTS, TAKES, make_move, put, take
from remanence.ops.scan.tensors.program import Call, Program, Ref, find_constant, find_needed_calls
from remanence.ops.scan.tensors.structural import STRUCTURAL, TensorEmitter, layer_norm_backward, rms_norm_backward
from remanence.ops.scan.tensors.tensor_graph import Shape, ShapeError, TensorBuilder, TensorGraph
from remanence.ops.scan.trace import (
    ABOUT_SHAPE,
    FACTORIES,
    Loss,
    Step,
    UntraceableError,
    fill_arguments,
    find_refusal,
    isolate,
    record_twice,
)

Shapes: TypeAlias = tuple[tuple[Shape, ...], tuple[Shape, ...], tuple[Shape, ...]]
"""Shapes of states, inputs and params, without batch and time."""


@dataclass(frozen=True)
class Total:
    """A sum over batch and time: of a value, or of the product of two in which the batch is contracted.

    Attributes:
        left: a node, among the outputs of the graph.
        right: the other factor; None: ``left`` itself is added up.
    """

    left: int
    right: int | None


@dataclass(frozen=True)
class StepRecord:
    """The operations of a step or its derivative.

    Attributes:
        graph: the operations for every sample at every time step.
        free: the tensors that all samples share, in the order of the placeholders ``free``.
        totals: the sums over batch and time.
        program: calls that depend on no sample.
        after: calls that depend on a total.
        results: references to the gradients of the params; None where it is 0.
    """

    graph: TensorGraph
    free: tuple[Ref, ...]
    totals: tuple[Total, ...]
    program: Program
    after: Program
    results: tuple[Ref | None, ...]


class TracedTensorStep:
    """A step as graphs of tensors of the new states and of the vector-Jacobian products.

    Args:
        step: ``step(state, inputs, params) -> new state``, in plain PyTorch.
        shapes: shapes of states, inputs and params, without batch and time.
        dtype: dtype of every tensor.

    Raises:
        UntraceableError: an operation is not supported, or mixes the samples of a batch.
    """

    def __init__(self, step: Step, shapes: Shapes, dtype: torch.dtype):
        self.step, self.shapes, self.dtype = step, shapes, dtype
        self.counts = tuple(len(group) for group in shapes)
        self.kernels: dict[object, Any] = {}
        self.forward = record_twice(lambda: self._record(self.step, ("state", "input", "param")))

    @cached_property
    def backward(self) -> StepRecord:
        """The new states, and gradients of the states and of the inputs; those of the params are totals."""

        def gradients(state: Tensors, inputs: Tensors, params: Tensors, cotangents: Tensors) -> Tensors:
            primals = [x.requires_grad_() for x in (*state, *inputs, *params)]
            new = tuple(self.step(state, inputs, params))
            if not any(x.requires_grad for x in new):
                return *new, *(torch.zeros_like(x) for x in primals)
            grads = torch.autograd.grad(Loss.apply(cotangents, *new), primals, materialize_grads=True)
            return *(x.detach() for x in new), *grads

        return self._record(gradients, ("state", "input", "param", "cotangent"))

    @cached_property
    def refuses_derivative(self) -> str | None:
        """The reason why the derivative cannot be traced, or None."""
        return find_refusal(lambda: self.backward)

    def split(self, flat: Sequence[Tensor]) -> tuple[Tensors, Tensors, Tensors]:
        """Split a sequence with an item for each state, input and param by kind."""
        states, inputs, _ = self.counts
        return tuple(flat[:states]), tuple(flat[states : states + inputs]), tuple(flat[states + inputs :])

    @torch.inference_mode(False)  # in which composite operations would be recorded whole
    def _record(self, function: Callable[..., Tensors], kinds: Sequence[str]) -> StepRecord:
        states, inputs, params = self.shapes
        batch = _batch_of_trace((*states, *inputs, *params))
        recorder = _Recorder(self.dtype, batch)
        groups = []
        for kind, shapes in zip(kinds, (states, inputs, params, states), strict=False):
            lead = () if kind == "param" else (batch,)
            tensors = tuple(torch.ones((*lead, *shape), dtype=self.dtype) for shape in shapes)
            for index, tensor in enumerate(tensors):
                recorder.placeholder(kind, index, tensor)
            groups.append(tensors)
        try:
            with isolate(), recorder:
                results = tuple(function(*groups))
        except UntraceableError:
            raise
        except Exception as error:
            raise UntraceableError(f"{type(error).__name__}: {error}") from error
        wanted = states if len(kinds) == 3 else (*states, *states, *inputs)
        return recorder.finish(results, [(batch, *shape) for shape in wanted])


def _batch_of_trace(shapes: Sequence[Shape]) -> int:
    """Choose a batch size that distinguishes the batch from every other dimension."""
    sizes = {size for shape in shapes for size in shape}
    return next(prime for prime in (29, 31, 37, 41, 43, 47, 53, 59, 61, 67) if all(size % prime for size in sizes))


_Value: TypeAlias = int | Ref
"""A node if the tensor has a batch, a reference if not."""


class _Recorder(TorchDispatchMode):
    """Runs every operation, and records what it does to one sample."""

    def __init__(self, dtype: torch.dtype, batch: int):
        super().__init__()
        self.builder = TensorBuilder()
        self._dtype, self._batch = dtype, batch
        self._values: dict[int, tuple[Tensor, _Value]] = {}
        self._refused: dict[int, tuple[Tensor, str]] = {}
        self._brought: dict[int, tuple[Tensor, Tensor]] = {}
        self._given: set[int] = set()
        self._free: list[Ref] = []
        self._totals: list[Total] = []
        self._program, self._after = Program(), Program()
        self._calls = 0
        self._behind_totals: set[Ref] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def placeholder(self, kind: str, index: int, tensor: Tensor) -> None:
        self._given.add(tensor.untyped_storage().data_ptr())
        if kind == "param":
            self._assign(tensor, Ref("param", index))
        else:
            shape = (1, *tensor.shape[1:])
            self._assign(tensor, self.builder.add(kind, value=index, shape=shape, axis=0))

    def finish(self, results: Sequence[Any], shapes: Sequence[Sequence[int]]) -> StepRecord:
        """Return the operations that the results need."""
        outputs = [self._find_result(result, shape) for result, shape in zip(results, shapes, strict=False)]
        rest = [self._find_gradient(result) for result in results[len(shapes) :]]
        after = find_needed_calls(self._after.calls, [ref for ref in rest if ref is not None])
        graph = self.builder.build_tensor_graph([*outputs, *(x for t in self._totals for x in _list_factors(t))])
        places = iter(graph.outputs[len(outputs) :])
        totals = tuple(Total(next(places), None if total.right is None else next(places)) for total in self._totals)
        used = sorted({int(node.value) for node in graph.nodes if node.op == "free"})
        free = tuple(self._free[i] for i in used)
        graph = _renumber(graph, {old: new for new, old in enumerate(used)})
        refs = [ref for call in after for ref in pytree.tree_leaves((call.args, call.kwargs), is_leaf=_is_ref)]
        wanted = [*free, *(ref for ref in (*refs, *rest) if isinstance(ref, Ref))]
        program = Program(find_needed_calls(self._program.calls, wanted))
        return StepRecord(graph, free, totals, program, Program(after), tuple(rest))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = pytree.tree_map_only(Tensor, self._bring, (args, kwargs or {}))
        name = func.overloadpacket.__name__
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise UntraceableError(f"{name}: a random number")
        result = func(*args, **kwargs)
        if func._schema.is_mutable:
            name, func = self._in_place(name, func, args)
        outputs = [x for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]
        operands = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if not outputs:
            if name not in ABOUT_SHAPE and not all(self._is_constant(x) for x in operands):
                raise UntraceableError(f"{name}: a value that decides what is computed")
            return result
        try:
            self._record_operation(name, func, args, kwargs, outputs)
        except ShapeError as error:
            for output in outputs:  # an error only if it is used: x[0].numel() is allowed
                self._refused[id(output)] = (output, f"{name}: {error}")
        return result

    def _bring(self, tensor: Tensor) -> Tensor:
        """Return a tensor that a step closes over on the CPU, where steps are traced."""
        if tensor.device.type == "cpu":
            return tensor
        if id(tensor) not in self._brought:
            self._brought[id(tensor)] = tensor, tensor.detach().cpu()
        return self._brought[id(tensor)][1]

    def _record_operation(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> None:
        operands = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if name in (*TAKES, *PUTS) and isinstance(self._find_value(operands[0]), int):
            self._record_move(name, func, fill_arguments(func, args, kwargs), outputs)
            return
        values = [self._find_value(x) for x in operands]
        batched = [x for x in values if isinstance(x, int)]
        if name in FACTORIES or not operands:
            self._create_tensor(name, func, args, kwargs, outputs[0])
        elif not batched and not self._takes_batch(name, outputs):
            self._record_call(func, args, kwargs, outputs)
        elif any(ref in self._behind_totals for ref in values if isinstance(ref, Ref)):
            raise UntraceableError(f"{name}: what is summed over the batch is used for a sample again")
        elif not self._record_total(name, func, args, kwargs, outputs):
            self._lower(name, func, args, kwargs, outputs)

    def _record_move(self, name: str, func: Any, given: list[Any], outputs: list[Tensor]) -> None:
        """Record an operation that moves numbers, if the places do not depend on computed values."""
        for tensor in pytree.tree_leaves(given[1] if name in PUTS and name != "index_add" else given[1:3]):
            if isinstance(tensor, Tensor) and not self._is_place(tensor):
                raise UntraceableError(f"{name}: places that depend on what is computed")
        emitter = TensorEmitter(self.builder, self._batch, outputs)
        move, x = make_move(name, func, given), self._find_node(given[0])
        if name in TAKES:
            self._assign(outputs[0], self._check_shape(name, take(emitter, x, move), outputs[0]))
            return
        added = given[3] if name == "index_add" else given[2]
        if (given[4] != 1) if name == "index_add" else not given[3]:
            raise UntraceableError(f"{name}: numbers that are put in the place of others, or scaled")
        place = put(emitter, x, self._find_node(added), tuple(added.shape), move)
        self._assign(outputs[0], self._check_shape(name, place, outputs[0]))

    def _is_place(self, tensor: Tensor) -> bool:
        """Return whether a tensor of whole numbers or truth values does not depend on states, inputs or params."""
        if tensor.is_floating_point() or tensor.is_complex():
            return False
        if id(tensor) not in self._values:
            return True
        value = self._values[id(tensor)][1]
        return isinstance(value, Ref) and not self._depends_on_params(value)

    def _depends_on_params(self, ref: Ref) -> bool:
        if ref.kind != "call":
            return True
        call = next((call for call in self._program.calls if call.index == ref.number), None)
        if call is None:
            return True
        leaves = pytree.tree_leaves((call.args, call.kwargs), is_leaf=_is_ref)
        return any(self._depends_on_params(leaf) for leaf in leaves if isinstance(leaf, Ref))

    def _takes_batch(self, name: str, outputs: list[Tensor]) -> bool:
        return name == "expand" and any(size % self._batch == 0 for size in outputs[0].shape)

    def _create_tensor(self, name: str, func: Any, args: Any, kwargs: Any, output: Tensor) -> None:
        """Record a new tensor, with or without a batch."""
        axes = [i for i, size in enumerate(output.shape) if size and size % self._batch == 0]
        if not axes:
            self._record_call(func, args, kwargs, [output], copies=True)
            return
        value = float("nan") if name in ("empty_like", "new_empty", "empty") else find_constant(output)
        if value is None or len(axes) > 1:
            raise UntraceableError(f"{name}: a tensor that is not one number, of the size of the batch")
        shape = tuple(size // self._batch if i == axes[0] else size for i, size in enumerate(output.shape))
        self._assign(output, self.builder.fill(value, shape, axes[0]))

    def _record_call(self, func: Any, args: Any, kwargs: Any, outputs: list[Tensor], *, copies: bool = False) -> None:
        """Record an operation without a batch, which PyTorch will run."""
        if copies and args and isinstance(args[0], Tensor) and isinstance(self._find_value(args[0]), int):
            # new_zeros and the like take dtype and device from a tensor that may have a batch.
            size, number = tuple(outputs[0].shape), find_constant(outputs[0])
            kwargs = {"dtype": outputs[0].dtype, "device": outputs[0].device}
            func, args = torch.full, (size, number)
        given: Any = pytree.tree_map_only(Tensor, self._find_value, (args, kwargs))
        index, self._calls = self._calls, self._calls + 1
        leaves = [x for x in pytree.tree_leaves(given, is_leaf=_is_ref) if isinstance(x, Ref)]
        behind = any(ref.kind == "total" or ref in self._behind_totals for ref in leaves)
        (self._after if behind else self._program).calls.append(Call(func, given[0], given[1], index))
        for place, output in enumerate(outputs):
            ref = Ref("call", index, place)
            if behind:
                self._behind_totals.add(ref)
            self._assign(output, ref)

    def _record_total(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> bool:
        """Record an operation that sums over the batch as a total; return whether it is one."""
        given = fill_arguments(func, args, kwargs)
        emitter = TensorEmitter(self.builder, self._batch, outputs)
        if name in ("mm", "bmm"):
            left, right = (self._find_node(x) for x in given[:2])
            axes = emitter.axis(left), emitter.axis(right)
            if axes != (len(emitter.shape(left)) - 1, len(emitter.shape(right)) - 2):
                return False
            self._assign(outputs[0], self._add_total(emitter, left, right))
            return True
        if name == "sum":
            x, dims = self._find_node(given[0]), given[1] if len(given) > 2 else None
            every = range(given[0].ndim)
            dims = [d % given[0].ndim for d in dims] if dims else list(every)
            axis = emitter.axis(x)
            if axis is None or axis not in dims:
                return False
            inner = emitter.reduce("sum", x, dims, True, within=True)
            self._assign(outputs[0], self._reshape_total(self._add_total(emitter, inner), outputs[0]))
            return True
        if name in ("native_layer_norm_backward", "_fused_rms_norm_backward"):
            self._norm_backward(name, emitter, given, outputs)
            return True
        return False

    def _norm_backward(self, name: str, emitter: TensorEmitter, given: list[Any], outputs: list[Tensor]) -> None:
        nodes: list[Any] = [self._find_node(x) if isinstance(x, Tensor) else x for x in given]
        if name == "native_layer_norm_backward":
            g, x, sizes, mean, rstd, weight, _, mask = nodes
            of_x, of_weight = layer_norm_backward(emitter, g, x, sizes, mean, rstd, weight)
        else:
            g, x, sizes, rstd, weight, mask = nodes
            of_x, of_weight = rms_norm_backward(emitter, g, x, sizes, rstd, weight)
        kinds = [kind for kind, wanted in zip(("x", "weight", "bias"), mask, strict=True) if wanted]
        for kind, output in zip(kinds, outputs, strict=True):
            if kind == "x":
                self._assign(output, of_x)
                continue
            node = of_weight if kind == "weight" else g
            lead = range(len(emitter.shape(node)) - len(sizes))
            inner = emitter.reduce("sum", node, lead, True, within=True)
            self._assign(output, self._reshape_total(self._add_total(emitter, inner), output))

    def _add_total(self, emitter: TensorEmitter, left: int, right: int | None = None) -> Ref:
        total = Total(emitter.make_contiguous(left), None if right is None else emitter.make_contiguous(right))
        if total not in self._totals:
            self._totals.append(total)
        ref = Ref("total", self._totals.index(total))
        self._behind_totals.add(ref)
        return ref

    def _reshape_total(self, ref: Ref, output: Tensor) -> Ref:
        """Record the reshape of a total to the shape of a result."""
        index, self._calls = self._calls, self._calls + 1
        shape = tuple(output.shape)
        self._after.calls.append(Call(torch.Tensor.reshape, (ref, shape), {}, index))
        shaped = Ref("call", index)
        self._behind_totals.add(shaped)
        return shaped

    def _lower(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> None:
        output = outputs[0]
        if output.dtype.is_floating_point and output.dtype != self._dtype:
            raise UntraceableError(f"{name}: a result of {output.dtype} in a step of {self._dtype}")
        if output.is_complex():
            raise UntraceableError(f"{name}: a complex result")
        emitter = TensorEmitter(self.builder, self._batch, outputs)
        given = pytree.tree_map_only(Tensor, self._find_node, fill_arguments(func, args, kwargs))
        if name == "_to_copy":
            places: Any = emitter.truth(given[0]) if output.dtype == torch.bool else emitter.real(given[0])
        elif name in STRUCTURAL:
            places = STRUCTURAL[name](emitter, *given)
        elif name in LOWERINGS and func._overloadname != "decimals":
            numbers = [
                self.builder.constant(x) if isinstance(x, bool | int | float) and not isinstance(y, Tensor) else x
                for x, y in zip(given, fill_arguments(func, args, kwargs), strict=True)
            ]
            places = LOWERINGS[name](emitter, *numbers)
        else:
            raise UntraceableError(f"{name}: not an operation that a loop can be made of")
        places = places if isinstance(places, tuple) else (places,) * len(outputs)
        for place, result in zip(places, outputs, strict=True):
            self._assign(result, self._check_shape(name, place, result))

    def _check_shape(self, name: str, place: int, result: Tensor) -> int:
        """Return a node after checking that its shape is that of the trace."""
        if result.numel() == 0:
            raise UntraceableError(f"{name}: a tensor without elements")
        if self.builder.nodes[place].op == "constant":
            axes = [i for i, size in enumerate(result.shape) if size % self._batch == 0]
            return self.builder.fill(
                self.builder.nodes[place].value,
                tuple(s // self._batch if [i] == axes[:1] else s for i, s in enumerate(result.shape)),
                axes[0] if axes else None,
            )
        axis = self.builder.axes[place]
        shape = tuple(s * self._batch if i == axis else s for i, s in enumerate(self.builder.shapes[place]))
        if shape != tuple(result.shape) and result.numel():
            raise UntraceableError(f"{name}: {list(result.shape)} instead of {list(shape)}")
        return place

    def _in_place(self, name: str, func: Any, args: Any) -> tuple[str, Any]:
        """Return the operation that computes the new value, if nothing else sees the change, as in autograd's code."""
        target = args[0]
        storage = target.untyped_storage().data_ptr()
        shared = sum(tensor.untyped_storage().data_ptr() == storage for tensor, _ in self._values.values())
        if not name.endswith("_") or id(target) not in self._values or shared > 1 or storage in self._given:
            raise UntraceableError(f"{name}: an operation in place")
        packet = getattr(torch.ops.aten, name[:-1])
        return name[:-1], getattr(packet, func._overloadname)

    def _assign(self, tensor: Tensor, value: _Value) -> None:
        self._values[id(tensor)] = (tensor, value)

    def _find_value(self, tensor: Tensor) -> _Value:
        if id(tensor) in self._refused:
            raise UntraceableError(self._refused[id(tensor)][1])
        if id(tensor) not in self._values:
            if tensor.requires_grad:
                raise UntraceableError("a tensor from outside that requires a gradient: pass it in params or inputs")
            number = find_constant(tensor)
            if number is None and not tensor.is_floating_point() and not tensor.is_complex():
                self._record_call(_Constant(tensor.clone()), (), {"device": tensor.device}, [tensor])
                return self._values[id(tensor)][1]
            if number is None:
                raise UntraceableError(
                    "a tensor from outside: a constant that is not one number: pass it in params or inputs"
                )
            kwargs = {"dtype": tensor.dtype, "device": tensor.device}
            self._record_call(torch.full, (tuple(tensor.shape), number), kwargs, [tensor])
        return self._values[id(tensor)][1]

    def _find_node(self, tensor: Tensor) -> int:
        """Return the node of a tensor."""
        value = self._find_value(tensor)
        if isinstance(value, int):
            return value
        call = next((c for c in self._program.calls if value == Ref("call", c.index)), None)
        if call is not None and (call.function is torch.full or call.function.__name__.split(".")[0] in FACTORIES):
            number = find_constant(tensor)
            if number is not None:
                return self.builder.fill(number, tuple(tensor.shape), None)
        if tensor.dtype != self._dtype:
            raise UntraceableError(f"a tensor of {tensor.dtype} that no sample has, in a step of {self._dtype}")
        if value not in self._free:
            self._free.append(value)
        return self.builder.add("free", value=self._free.index(value), shape=tuple(tensor.shape))

    def _is_constant(self, tensor: Tensor) -> bool:
        value = self._find_value(tensor)
        return isinstance(value, int) and self.builder.nodes[value].op in ("constant", "fill")

    def _find_result(self, value: Any, shape: Sequence[int]) -> int:
        """Return the node of a result that has a batch."""
        if not isinstance(value, Tensor) or tuple(value.shape) != tuple(shape) or value.dtype != self._dtype:
            came = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise UntraceableError(f"a result that is not {self._dtype} {list(shape)}: {came}")
        place = self._find_node(value)
        if self.builder.axes[place] is None:
            raise UntraceableError("a result that does not depend on state or inputs")
        emitter = TensorEmitter(self.builder, self._batch, [value])
        return emitter.make_contiguous(emitter.real(place))

    def _find_gradient(self, value: Tensor) -> Ref | None:
        """Return the reference to the gradient of a param."""
        found = self._find_value(value)
        if isinstance(found, Ref):
            return found
        raise UntraceableError("a gradient of a param that depends on the sample")


class _Constant:
    """A call that returns a tensor of whole numbers as it was when the step was traced."""

    __name__ = "constant"

    def __init__(self, value: Tensor):
        self.value = value
        self._on: dict[torch.device, Tensor] = {}

    def __call__(self, *, device: torch.device) -> Tensor:
        if device not in self._on:
            self._on[device] = self.value.to(device)
        return self._on[device]

    def __repr__(self) -> str:
        return f"find_constant({self.value.tolist()})"


def _is_ref(value: Any) -> bool:
    return isinstance(value, Ref)


def _list_factors(total: Total) -> list[int]:
    return [total.left] if total.right is None else [total.left, total.right]


def _renumber(graph: TensorGraph, numbers: dict[int, int]) -> TensorGraph:
    """Renumber the placeholders ``free``."""
    nodes = tuple(
        type(node)(node.op, node.arguments, numbers[int(node.value)]) if node.op == "free" else node
        for node in graph.nodes
    )
    return TensorGraph(nodes, graph.shapes, graph.outputs)
