"""A plan of a time step as the source of a kernel: the loop over time for a block of samples.

Every number of a sample is a vector over the ``LANES`` samples of a block, so that whatever a step does with the
numbers of one sample is a loop over vectors. Memory of a thread: ``mine``; a number takes ``ROW`` bytes of it there.
Tensors [batch, time, ...] are turned round on the way in and out; a table of rows of :data:`COLUMNS` whole numbers says
where each lies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from remanence._kernels.interleave import transposed
from remanence._kernels.source import HEAD, Source
from remanence.ops.scan.cpu_body import Body, with_fewer_divisions
from remanence.ops.scan.tensors.graph import Shape, TensorGraph, size_of
from remanence.ops.scan.tensors.schedule import Access, Loop, Plan, Planner, Product

COLUMNS = ("address", "sample", "step", "count", "place")
"""Of a tensor: where it begins, bytes from sample to sample and from step to step, how many numbers a sample has, and
where these lie in the memory of a thread, in numbers."""

ARGUMENTS = (
    *HEAD,
    "time", "batch", "scratch", "scratch_size", "frees",
    "starts", "starts_count", "loads", "loads_count", "grads", "grads_count",
    "stores", "stores_count", "ends", "ends_count", "saved", "saved_count", "sums", "sums_size",
)  # fmt: skip


@dataclass(frozen=True)
class TensorSource(Source):
    """A kernel, and where it expects what.

    Attributes:
        places: of every node with memory of its own, in numbers of a thread's memory.
        size: numbers in a thread's memory.
        weights: for every product with a matrix that all samples share how it is laid out.
        saved: place of each saved node behind the others, and numbers of all, for one block and time step.
        sums: place of every total in the sums, and numbers of all.
    """

    places: dict[int, int]
    size: int
    packs: tuple["Pack", ...]
    saved: dict[int, int]
    saved_size: int
    sums: dict[int, int]
    sums_size: int

    __hash__ = object.__hash__


@dataclass(frozen=True)
class Pack:
    """A matrix for a product with a vector of every sample, in blocks of as many results as registers hold.

    Attributes:
        free: which of the tensors that all samples share.
        strides: of groups, results and terms in it.
        offset: where it begins.
        sizes: of groups, results, terms.
        block: results in a block.
    """

    free: int
    strides: tuple[int, int, int]
    offset: int
    sizes: tuple[int, int, int]
    block: int


class Writer:
    """Lines of a kernel.

    Args:
        graph: a time step.
        plan: of it.
        frees: how many tensors there are that all samples share.
        block: results of a product with a matrix that are computed together.
        saved: nodes that the way there keeps for the way back.
    """

    def __init__(self, graph: TensorGraph, plan: Plan, frees: int, block: int, saved: Sequence[int]):
        self.graph, self.plan, self.frees, self.block = graph, plan, frees, block
        self.packs: list[Pack] = []
        self.saved, self.saved_size = _in_a_row(graph, saved)
        self.places: dict[int, int] = {}

    def parts(self) -> list[str]:
        """What one time step computes."""
        lines = []
        for number, part in enumerate(self.plan.parts):
            lines += self._product(part) if isinstance(part, Product) else self._loop(part, f"v{number}_")
        return lines

    def base(self, node: int) -> str:
        """Where the memory of a node begins."""
        if self.graph.nodes[node].op == "saved":
            return f"(kept + {self.saved[node]} * ROW)"
        return f"(mine + {self.places[node]} * ROW)"

    def _at(self, access: Access, more: str) -> str:
        """Where a part of a node's memory begins."""
        return f"{self.base(access.node)} + ({access.offset} + {more}) * ROW"

    def _loop(self, loop: Loop, letter: str) -> list[str]:
        body = Body(with_fewer_divisions(loop.body), letter=letter)
        accesses = [*loop.loads, *loop.stores]
        kept = [d for d in range(len(loop.shape)) if d not in loop.reduced and loop.shape[d] != 1]
        inner = [d for d in loop.reduced if loop.shape[d] != 1]
        outer_dims = _merged(loop.shape, kept, accesses)
        inner_dims = _merged(loop.shape, inner, accesses)
        dims = [*outer_dims, *inner_dims]
        loads: dict[int, list[str]] = {level: [] for level in range(len(dims) + 1)}
        for number, access in enumerate(loop.loads):
            level = max((n + 1 for n, (_, strides) in enumerate(dims) if strides[access]), default=0)
            loads[level].append(f"x{number} = {self._read(access, dims)}")
        lines = [*loads[0]]
        indent = 0
        result = loop.body.outputs
        for level, (size, _) in enumerate(dims):
            if level == len(outer_dims):
                lines += _indented(self._begin(loop), indent)
            lines += _indented([f"for i{level} in range({size}):"], indent)
            indent += 1
            lines += _indented(loads[level + 1], indent)
        if loop.reduced and not inner_dims:
            lines += _indented(self._begin(loop), indent)
        lines += _indented([*body.once, *body.every_step], indent)
        outputs = [body.vector(output) for output in body.graph.outputs]
        if not loop.reduced:
            stores = [self._write(access, dims, value) for access, value in zip(loop.stores, outputs, strict=True)]
            return [*lines, *_indented(stores, indent)]
        assert len(result) == 1
        add = f"total = total + {outputs[0]}" if loop.reduction == "sum" else f"total = maximum(total, {outputs[0]})"
        lines += _indented([add], indent)
        lines += _indented([self._write(loop.stores[0], outer_dims, "total")], len(outer_dims))
        return lines

    def _begin(self, loop: Loop) -> list[str]:
        return [f"total = lanes({'0.0' if loop.reduction == 'sum' else '-inf'})"]

    def _read(self, access: Access, dims: Sequence["Dim"]) -> str:
        index = _index(access, dims)
        node = self.graph.nodes[access.node]
        if node.op == "free":
            return f"broadcast(integer(frees + {8 * int(node.value)}) + ({index}) * SIZE)"
        return f"load_full({self.base(access.node)} + ({index}) * ROW)"

    def _write(self, access: Access, dims: Sequence["Dim"], value: str) -> str:
        return f"store_full({self.base(access.node)} + ({_index(access, dims)}) * ROW, {value})"

    def _product(self, product: Product) -> list[str]:
        left_free = self.graph.nodes[product.left.node].op == "free"
        right_free = self.graph.nodes[product.right.node].op == "free"
        assert not (left_free and right_free)
        if not left_free and not right_free:
            return self._product_of_samples(product)
        groups, rows, terms, columns = product.sizes
        free, x = (product.left, product.right) if left_free else (product.right, product.left)
        g, r, c = free.strides[0], free.strides[1], free.strides[2]
        # Results of the matrix are its rows if it stands left, its columns if it stands right; others: of x.
        results, others = (rows, columns) if left_free else (columns, rows)
        strides = (g, r, c) if left_free else (g, c, r)
        xg, x_term, x_other = (
            (x.strides[0], x.strides[1], x.strides[2]) if left_free else (x.strides[0], x.strides[2], x.strides[1])
        )
        og, o_row, o_column = product.out.strides
        o_result, o_other = (o_row, o_column) if left_free else (o_column, o_row)
        pack = Pack(int(self.graph.nodes[free.node].value), strides, free.offset, (groups, results, terms), self.block)
        number = len(self.packs)
        self.packs.append(pack)
        lines, depth = [f"w = integer(frees + {8 * (self.frees + number)})"], 0
        whole, rest = divmod(results, self.block)
        if groups > 1:
            lines += [f"for g in range({groups}):"]
            depth += 1
        g_term = "g" if groups > 1 else "0"
        body = []
        if others > 1:
            body += [f"w{number} = w", f"for m in range({others}):"]
        inner = []
        m_term = "m" if others > 1 else "0"
        if others > 1:
            inner += [f"w = w{number}"]
        inner += [
            f"xa = {self._at(x, f'{g_term} * {xg} + {m_term} * {x_other}')}",
            f"oa = {self._at(product.out, f'{g_term} * {og} + {m_term} * {o_other}')}",
        ]
        if whole:
            inner += [
                f"for n in range({whole}):",
                *_indented(_block(self.block, terms, x_term, o_result)),
                f"    oa += {self.block * o_result} * ROW",
            ]
        if rest:
            inner += _block(rest, terms, x_term, o_result)
        body += _indented(inner, 1 if others > 1 else 0)
        return [*lines, *_indented(body, depth)]

    def _product_of_samples(self, product: Product) -> list[str]:
        groups, rows, terms, columns = product.sizes
        left, right, out = product.left, product.right, product.out
        lines, depth = [], 0
        for name, size in (("g", groups), ("j", columns)):
            if size > 1:
                lines += _indented([f"for {name} in range({size}):"], depth)
                depth += 1
        g, j = ("g" if groups > 1 else "0"), ("j" if columns > 1 else "0")
        inner = [
            f"la = {self._at(left, f'{g} * {left.strides[0]}')}",
            f"ra = {self._at(right, f'{g} * {right.strides[0]} + {j} * {right.strides[2]}')}",
            f"oa = {self._at(out, f'{g} * {out.strides[0]} + {j} * {out.strides[2]}')}",
        ]
        block = min(4, rows)
        whole, rest = divmod(rows, block)

        row, term = left.strides[1:]

        def some(count: int) -> list[str]:
            return [
                *(f"a{q} = lanes(0.0)" for q in range(count)),
                f"for k in range({terms}):",
                f"    r = load_full(ra + k * {right.strides[1]} * ROW)",
                *(f"    a{q} = muladd(load_full(la + ({q * row} + k * {term}) * ROW), r, a{q})" for q in range(count)),
                *(f"store_full(oa + {q} * {out.strides[1]} * ROW, a{q})" for q in range(count)),
            ]

        inner += [
            f"for n in range({whole}):",
            *_indented([*some(block), f"la += {block * row} * ROW", f"oa += {block * out.strides[1]} * ROW"]),
        ]
        if rest:
            inner += some(rest)
        return [*lines, *_indented(inner, depth)]


def _block(count: int, terms: int, x_term: int, o_result: int) -> list[str]:
    """So many results of a product with a packed matrix; w moves on behind what it read."""
    return [
        *(f"a{q} = lanes(0.0)" for q in range(count)),
        "xk = xa",
        f"for k in range({terms}):",
        "    v = load_full(xk)",
        *(f"    a{q} = muladd(broadcast(w + {q} * SIZE), v, a{q})" for q in range(count)),
        f"    xk += {x_term} * ROW",
        f"    w += {count} * SIZE",
        *(f"store_full(oa + {q * o_result} * ROW, a{q})" for q in range(count)),
    ]


Dim = tuple[int, dict[Access, int]]
"""A loop: how often, and how far each access goes each time."""


def _merged(shape: Shape, dims: Sequence[int], accesses: Sequence[Access]) -> list[Dim]:
    """Loops over these dimensions, neighbours in one where every access allows it."""
    loops: list[Dim] = []
    for d in dims:
        strides = {access: access.strides[d] for access in accesses if len(access.strides) > d}
        strides = {access: strides.get(access, 0) for access in accesses}
        if loops and all(loops[-1][1][a] == strides[a] * shape[d] for a in accesses):
            loops[-1] = (loops[-1][0] * shape[d], strides)
        else:
            loops.append((shape[d], strides))
    return loops


def _index(access: Access, dims: Sequence[Dim]) -> str:
    terms = [str(access.offset)] if access.offset else []
    terms += [f"i{n}" + (f" * {s[access]}" if s[access] != 1 else "") for n, (_, s) in enumerate(dims) if s[access]]
    return " + ".join(terms) or "0"


def _in_a_row(graph: TensorGraph, nodes: Iterable[int]) -> tuple[dict[int, int], int]:
    places, end = {}, 0
    for node in nodes:
        places[node] = end
        end += size_of(graph.shapes[node])
    return places, end


def _indented(lines: Iterable[str], depth: int = 1) -> list[str]:
    return ["    " * depth + line for line in lines]


def allocate(plan: Plan, graph: TensorGraph, always: Iterable[int], lanes: int) -> tuple[dict[int, int], int]:
    """A place for each node with memory of its own; what is not needed any more makes room."""
    always = set(always)
    sizes = {n: -(-size // lanes) * lanes for n, size in plan.buffers.items()}
    places: dict[int, int] = {}
    end = 0
    for node in sorted(always & set(sizes)):
        places[node] = end
        end += sizes[node]
    begin, taken = end, []
    for node in sorted(set(sizes) - always, key=lambda n: plan.first.get(n, 0)):
        if graph.nodes[node].op in ("saved", "free"):
            continue
        if node not in plan.first:
            continue
        first, last = plan.first[node], plan.last[node]
        place = begin
        for start, stop, until in sorted(taken):
            if until < first:
                continue
            if place + sizes[node] <= start:
                break
            place = max(place, stop)
        taken.append((place, place + sizes[node], last))
        places[node] = place
        end = max(end, place + sizes[node])
    return places, end


def _turners(lanes: int) -> str:
    """Functions that turn a block of samples round, on the way in and on the way out.

    The samples behind the last one are copies of it. On the way out it is written last: where gradients come in, the
    copies are given none.
    """
    at = [
        f"at{lane} = address + (sample + {lane} if sample + {lane} < batch else batch - 1) * stride"
        for lane in range(lanes)
    ]
    inwards = [
        *at,
        "for j in range(0, length, LANES):",
        "    inside = first(length - j)",
        *(f"    x{lane} = load(at{lane} + j * SIZE, inside)" for lane in range(lanes)),
        *_indented(transposed(lanes).splitlines()),
        *(f"    store_full(target + (j + {lane}) * ROW, where(valid, x{lane}, 0.0))" for lane in range(lanes)),
    ]
    outwards = [
        *at,
        "for j in range(0, length, LANES):",
        "    inside = first(length - j)",
        *(f"    x{lane} = load_full(target + (j + {lane}) * ROW)" for lane in range(lanes)),
        *_indented(transposed(lanes).splitlines()),
        *(f"    store(at{lane} + j * SIZE, x{lane}, inside)" for lane in reversed(range(lanes))),
    ]
    arguments = "address, stride, length, target, sample, batch"
    return "\n".join(
        [
            f"def turn_in({arguments}, real):",
            *_indented(["ROW = LANES * SIZE", "valid = first(real)", *inwards]),
            f"def turn_out({arguments}):",
            *_indented(["ROW = LANES * SIZE", *outwards]),
            "",
        ]
    )


def _turned(way: str, table: str, step: str = "0", *, gradients: bool = False) -> list[str]:
    """All tensors of a table, in or out."""
    real = ", batch - sample" if gradients else ", LANES"
    return [
        f"for row in range({table}_count):",
        f"    entry = {table} + row * {8 * len(COLUMNS)}",
        f"    turn_{way}(integer(entry) + {step} * integer(entry + 16), integer(entry + 8), integer(entry + 24), "
        f"mine + integer(entry + 32) * ROW, sample, batch{real if way == 'in' else ''})",
    ]


def _copied(source: str, target: str, count: int) -> list[str]:
    return [
        f"for i in range({count}):",
        f"    store_full({target} + i * ROW, load_full({source} + i * ROW))",
    ]


def forward(graph: TensorGraph, states: int, frees: int, saved: Sequence[int], lanes: int, block: int) -> TensorSource:
    """States after every step; ``saved`` are nodes to be kept for the way back."""
    new = graph.outputs[:states]
    plan = Planner(graph, (*new, *saved)).make()
    writer = Writer(graph, plan, frees, block, saved)
    given = [i for i, node in enumerate(graph.nodes) if node.op in ("state", "input")]
    writer.places, size = allocate(plan, graph, [*given, *new, *saved], lanes)
    places = writer.places
    before = {int(node.value): i for i, node in enumerate(graph.nodes) if node.op == "state"}
    lines = [
        *_turned("in", "starts"),
        "for t in range(time):",
        *_indented(_turned("in", "loads", "t")),
        *_indented(writer.parts()),
        *_indented(_turned("out", "stores", "t")),
        "    kept = saved + (unit * time + t) * saved_count * ROW",
        *_indented(
            line
            for node in saved
            for line in _copied(
                f"(mine + {places[plan.homes[node].node]} * ROW)", f"(kept + {writer.saved[node]} * ROW)",
                size_of(graph.shapes[node]),
            )
        ),
    ]  # fmt: skip
    moved, size = _moves(graph, new, before, places, size, lanes)
    lines += _indented(moved)
    return _source("forward", lines, writer, lanes, size, {})


def _moves(
    graph: TensorGraph, new: Sequence[int], before: dict[int, int], places: dict[int, int], size: int, lanes: int
) -> tuple[list[str], int]:
    """The new state in the place of the old one; by way of other memory where one is the other's old one."""
    lines, late = [], []
    old = set(before.values())
    for index, node in enumerate(new):
        if index not in before or before[index] == node:
            continue
        count = size_of(graph.shapes[node])
        source, target = f"(mine + {places[node]} * ROW)", f"(mine + {places[before[index]]} * ROW)"
        if node in old:
            between = f"(mine + {size} * ROW)"
            size += -(-count // lanes) * lanes
            lines = [*_copied(source, between, count), *lines]
            late += _copied(between, target, count)
        else:
            late += _copied(source, target, count)
    return [*lines, *late], size


def backward(
    graph: TensorGraph,
    states: int,
    frees: int,
    saved: Sequence[int],
    sums: Sequence[int],
    operands: Sequence[int],
    lanes: int,
    block: int,
) -> TensorSource:
    """Gradients of the states before a step and of its inputs; ``sums`` are nodes to be added up over all steps,
    ``operands`` factors of products that are."""
    results = graph.outputs
    plan = Planner(graph, {*results, *sums, *operands}).make()
    writer = Writer(graph, plan, frees, block, saved)
    given = [i for i, node in enumerate(graph.nodes) if node.op in ("state", "input", "cotangent")]
    writer.places, size = allocate(plan, graph, [*given, *results, *sums, *operands], lanes)
    places = writer.places
    # The gradient that comes from later steps has memory of its own: cotangent = that + the one from outside.
    above = {int(n.value): i for i, n in enumerate(graph.nodes) if n.op == "cotangent"}
    carried = {}
    for index in range(states):
        carried[index] = size
        size += -(-size_of(_state_shape(graph, index, results)) // lanes) * lanes
    totals, totals_size = _in_a_row(graph, sums)
    lines = [
        *_turned("in", "starts", gradients=True),
        "for back in range(time):",
        "    t = time - 1 - back",
        "    kept = saved + (unit * time + t) * saved_count * ROW",
        *_indented(_turned("in", "loads", "t")),
        *_indented(_turned("in", "grads", "t", gradients=True)),
        *_indented(
            line
            for index, node in above.items()
            for line in (
                f"for i in range({size_of(graph.shapes[node])}):",
                f"    g = mine + ({places[node]} + i) * ROW",
                f"    store_full(g, load_full(g) + load_full(mine + ({carried[index]} + i) * ROW))",
            )
        ),
        *_indented(writer.parts()),
        *_indented(_turned("out", "stores", "t")),
        *_indented(
            line
            for node in sums
            for line in (
                f"for i in range({size_of(graph.shapes[node])}):",
                f"    g = sums + part * sums_size + ({totals[node]} + i) * ROW",
                f"    store_full(g, load_full(g) + load_full(mine + ({places[plan.homes[node].node]} + i) * ROW))",
            )
        ),
        *_indented(
            line
            for index in range(states)
            for line in _copied(
                f"(mine + {places[results[index]]} * ROW)", f"(mine + {carried[index]} * ROW)",
                size_of(graph.shapes[results[index]]),
            )
        ),
        *_turned("out", "ends"),
    ]  # fmt: skip
    source = _source("backward", lines, writer, lanes, size, totals, totals_size)
    source.places.update({-1 - index: place for index, place in carried.items()})
    return source


def _state_shape(graph: TensorGraph, index: int, results: Sequence[int]) -> Shape:
    return graph.shapes[results[index]]


def _source(
    name: str, lines: list[str], writer: Writer, lanes: int, size: int, sums: dict[int, int], sums_size: int = 0
) -> TensorSource:
    whole = [
        "ROW = LANES * SIZE",
        "mine = scratch + part * scratch_size",
        "for unit in range(begin, end):",
        *_indented(["sample = unit * LANES", *lines]),
    ]
    head = f"def {name}(\n    {', '.join(ARGUMENTS)},\n):\n"
    text = _turners(lanes) + head + "\n".join(_indented(whole)) + "\n"
    return TensorSource(
        text, ARGUMENTS, writer.places, size, tuple(writer.packs), writer.saved, writer.saved_size, sums, sums_size
    )
