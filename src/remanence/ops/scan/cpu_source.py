"""Writes a traced step as two kernels: the loop over time, and the backward loop.

A kernel works on blocks of ``LANES`` channels of one sample: it keeps their states in vector registers over the whole
sequence. Names: ``x`` inputs, ``h`` states, ``p`` parameters, ``y`` states over time, ``g`` gradients of states, and
``d`` before what a gradient is written for; ``at`` is an address, ``sample`` and ``step`` are distances in bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from remanence._kernels.kernel_source import HEAD, KernelSource
from remanence.ops.scan.cpu_body import Body, merge_divisions
from remanence.ops.scan.sums import factor_sums
from remanence.ops.scan.trace import TracedStep

SIZES = ("blocks", "time", "channels")
STRIDES = ("sample", "step")


@dataclass(frozen=True)
class Place:
    """A tensor that a kernel reads or writes.

    Attributes:
        group: the letter of its kind: ``x``, ``h``, ``p``, ``y``, ``g``, ``gy``, ``dh``, ``dx`` or ``dp``.
        index: which one of these.
        strides: how many strides the kernel takes; 0 if the tensor is contiguous over batch and time.
    """

    group: str
    index: int
    strides: int

    @property
    def name(self) -> str:
        """The prefix of its variables."""
        return f"{self.group}{self.index}"

    @property
    def arguments(self) -> list[str]:
        """Its address and strides."""
        return [f"{self.name}_{what}" for what in ("at", *STRIDES[: self.strides])]


@dataclass(frozen=True)
class PlacedSource(KernelSource):
    """A kernel whose arguments after :data:`SIZES` belong to tensors.

    Attributes:
        places: the tensors, in this order.
    """

    places: tuple[Place, ...]


def forward(traced: TracedStep) -> PlacedSource:
    """Write the kernel that computes the states after every step."""
    graph = traced.forward
    body = Body(graph)
    states = range(traced.counts[0])
    inputs, params = sorted(graph.find_placeholders("input")), sorted(graph.find_placeholders("param"))
    places = [
        *_make_places("x", inputs, 2),
        *_make_places("h", states, 1),
        *_make_places("p", params),
        *_make_places("y", states),
    ]
    step = [
        *(_write_load(f"x{i}", 2) for i in inputs),
        *body.every_step,
        *_write_state_update("h", body, graph.outputs),
        *(_write_store(f"y{i}", f"h{i}") for i in states),
    ]
    lines = [
        *(_write_load(f"p{i}") for i in params),
        *(_write_load(f"h{i}", 1) for i in states),
        *body.once,
        "for t in range(time):",
        *_indent(step),
    ]
    return _write_kernel("forward", places, lines)


def backward(traced: TracedStep, needs: Sequence[bool]) -> PlacedSource:
    """Write the kernel for the gradients of the initial states, and of the inputs and parameters that need one."""
    count, input_count, _ = traced.counts
    sums = factor_sums(merge_divisions(traced.vjp(tuple(needs))), count + sum(needs[count : count + input_count]))
    graph = sums.graph
    states = range(count)
    inputs, params, before = (sorted(graph.find_placeholders(kind)) for kind in ("input", "param", "state"))
    of_inputs = [i for i, need in enumerate(needs[count : count + input_count]) if need]
    outputs = iter(graph.outputs[count:])
    input_grads = {f"dx{i}": next(outputs) for i in of_inputs}
    body = Body(graph, sums.terms)
    places = [
        *_make_places("x", inputs, 2),
        *_make_places("h", before, 1),
        *_make_places("p", params),
        *_make_places("y", before),
    ]
    places += [*_make_places("gy", states, 2), *_make_places("g", states, 1), *_make_places("dh", states)]
    places += [*_make_places("dx", of_inputs, 2), *_make_places("dp", range(len(sums.totals)))]
    step = [
        "t = time - 1 - back",
        *(_write_load(f"x{i}", 2) for i in inputs),
        *(line for i in before for line in _write_previous_state(i)),
        *(_write_load(f"gy{i}", 2) for i in states),
        *(f"g{i} = g{i} + gy{i}" for i in states),
        *body.every_step,
        *(line for i, term in enumerate(sums.terms) for line in body.write_addition(f"sum{i}", term)),
        *(f"store({_address(name, 2)}, {body.vector(output)}, inside)" for name, output in input_grads.items()),
        *_write_state_update("g", body, graph.outputs[:count]),
    ]
    lines = [
        *(_write_load(f"p{i}") for i in params),
        *(_write_load(f"g{i}", 1) for i in states),
        *(f"sum{i} = lanes(0.0)" for i in range(len(sums.terms))),
        *body.once,
        "for back in range(time):",
        *_indent(step),
        *(f"store(dh{i}_at + sample * row + offset, g{i}, inside)" for i in states),
        *(line for i, total in enumerate(sums.totals) for line in _write_gradient_update(f"dp{i}", total, body)),
    ]
    return _write_kernel("backward", places, lines)


def _make_places(group: str, indices: Iterable[int], strides: int = 0) -> list[Place]:
    return [Place(group, index, strides) for index in indices]


def _write_block_start() -> list[str]:
    """Write where a block of channels begins."""
    return [
        "sample = unit // blocks",
        "channel = (unit - sample * blocks) * LANES",
        "inside = first(channels - channel)",
        "offset = channel * SIZE",
    ]


def _address(name: str, strides: int) -> str:
    """Return the address of the block of channels in a tensor with so many strides."""
    ways = (f"{name}_at", f"sample * {name}_sample", f"t * {name}_step")
    return f"{' + '.join(ways[: strides + 1])} + offset"


def _write_load(name: str, strides: int = 0) -> str:
    """Write the load of one block of channels of a tensor with so many strides."""
    return f"{name} = load({_address(name, strides)}, inside)"


def _write_store(name: str, value: str) -> str:
    return f"store({name}_at + (sample * time + t) * row + offset, {value}, inside)"


def _write_previous_state(i: int) -> list[str]:
    """Write the load of the state before step t: the initial one, or what the forward pass wrote."""
    return [
        f"before{i} = y{i}_at + (sample * time + t - 1) * row if t > 0 else h{i}_at + sample * h{i}_sample",
        f"h{i} = load(before{i} + offset, inside)",
    ]


def _write_gradient_update(name: str, total: Iterable[tuple[int, int]], body: Body) -> list[str]:
    """Write the addition of products of a factor and a sum to a gradient in memory."""
    at = f"{name}_at + part * row + offset"
    products = [f"{name} = muladd(sum{i}, {body.operand(factor)}, {name})" for factor, i in total]
    return [f"{name} = load({at}, inside)", *products, f"store({at}, {name}, inside)"]


def _write_state_update(letter: str, body: Body, outputs: Sequence[int]) -> list[str]:
    """Write the new states; all are computed before the first is replaced."""
    new = [f"new{i} = {body.vector(output)}" for i, output in enumerate(outputs)]
    return [*new, *(f"{letter}{i} = new{i}" for i in range(len(outputs)))]


def _write_kernel(name: str, places: list[Place], unit: list[str]) -> PlacedSource:
    heads = *HEAD, *SIZES
    signature = ",\n    ".join([", ".join(heads), *(", ".join(place.arguments) for place in places)])
    arguments = *heads, *(argument for place in places for argument in place.arguments)
    lines = ["row = channels * SIZE", "for unit in range(begin, end):", *_indent([*_write_block_start(), *unit])]
    text = f"def {name}(\n    {signature},\n):\n" + "\n".join(_indent(lines)) + "\n"
    return PlacedSource(text, arguments, tuple(places))


def _indent(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
