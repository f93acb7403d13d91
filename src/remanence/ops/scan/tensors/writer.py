"""Writes the parts of a plan as lines of a kernel: loops, matrix products, and moves.

Every number of a sample is a vector over the ``LANES`` samples of a block. ``mine`` is the memory of a thread, in which
a number takes ``ROW`` bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from remanence.ops.scan.cpu_body import Body, merge_divisions
from remanence.ops.scan.tensors.planner import Access, Loop, Move, Plan, Product
from remanence.ops.scan.tensors.tensor_graph import Shape, TensorGraph, size_of


@dataclass(frozen=True)
class Pack:
    """A matrix for a product with a vector of every sample, in blocks of as many results as registers hold.

    Attributes:
        free: position of the tensor among those that all samples share.
        strides: strides of groups, results and terms in the tensor.
        offset: offset of the first number in the tensor.
        sizes: numbers of groups, results and terms.
        block: number of results in a block.
    """

    free: int
    strides: tuple[int, int, int]
    offset: int
    sizes: tuple[int, int, int]
    block: int


@dataclass(frozen=True)
class Table:
    """Places in the memory of a node, in numbers."""

    places: tuple[int, ...]


Constant: TypeAlias = Pack | Table


class Writer:
    """Writes the lines of a time step.

    Args:
        graph: the graph of the time step.
        plan: plan of the time step.
        frees: number of tensors that all samples share.
        block: number of results of a product with a matrix that are computed together.
        saved: nodes that the forward pass saves for the backward pass.
    """

    def __init__(self, graph: TensorGraph, plan: Plan, frees: int, block: int, saved: Sequence[int]):
        self.graph, self.plan, self.frees, self.block = graph, plan, frees, block
        self.constants: list[Constant] = []
        self.saved, self.saved_size = place_in_sequence(graph, saved)
        self.places: dict[int, int] = {}

    def write_parts(self) -> list[str]:
        """Write the computation of one time step."""
        lines = []
        for number, part in enumerate(self.plan.parts):
            if isinstance(part, Product):
                lines += self._write_product(part)
            elif isinstance(part, Move):
                lines += self._write_move(part)
            else:
                lines += self._write_loop(part, f"v{number}_")
        return lines

    def base_address(self, node: int) -> str:
        """Return the address of the memory of a node."""
        if self.graph.nodes[node].op == "saved":
            return f"(kept + {self.saved[node]} * ROW)"
        return f"(mine + {self.places[node]} * ROW)"

    def _address(self, access: Access, more: str) -> str:
        """Return the address of an access to a node."""
        return f"{self.base_address(access.node)} + ({access.offset} + {more}) * ROW"

    def _write_loop(self, loop: Loop, letter: str) -> list[str]:
        body = Body(merge_divisions(loop.body), letter=letter)
        accesses = [*loop.loads, *loop.stores]
        kept = [d for d in range(len(loop.shape)) if d not in loop.reduced and loop.shape[d] != 1]
        inner = [d for d in loop.reduced if loop.shape[d] != 1]
        outer_dims = merge_loops(loop.shape, kept, accesses)
        inner_dims = merge_loops(loop.shape, inner, accesses)
        dims = [*outer_dims, *inner_dims]
        loads: dict[int, list[str]] = {level: [] for level in range(len(dims) + 1)}
        for number, access in enumerate(loop.loads):
            level = max((n + 1 for n, (_, strides) in enumerate(dims) if strides[access]), default=0)
            loads[level].append(f"x{number} = {self._write_load(access, dims)}")
        lines = [*loads[0]]
        indent = 0
        result = loop.body.outputs
        for level, (size, _) in enumerate(dims):
            if level == len(outer_dims):
                lines += indent_lines(self._write_reduction_start(loop), indent)
            lines += indent_lines([f"for i{level} in range({size}):"], indent)
            indent += 1
            lines += indent_lines(loads[level + 1], indent)
        if loop.reduced and not inner_dims:
            lines += indent_lines(self._write_reduction_start(loop), indent)
        lines += indent_lines([*body.once, *body.every_step], indent)
        outputs = [body.vector(output) for output in body.graph.outputs]
        if not loop.reduced:
            stores = [
                self._write_store(access, dims, value) for access, value in zip(loop.stores, outputs, strict=True)
            ]
            return [*lines, *indent_lines(stores, indent)]
        assert len(result) == 1
        add = f"total = total + {outputs[0]}" if loop.reduction == "sum" else f"total = maximum(total, {outputs[0]})"
        lines += indent_lines([add], indent)
        lines += indent_lines([self._write_store(loop.stores[0], outer_dims, "total")], len(outer_dims))
        return lines

    def _write_reduction_start(self, loop: Loop) -> list[str]:
        return [f"total = lanes({'0.0' if loop.reduction == 'sum' else '-inf'})"]

    def _write_load(self, access: Access, dims: Sequence["Dim"]) -> str:
        index = _write_index(access, dims)
        node = self.graph.nodes[access.node]
        if node.op == "free":
            return f"broadcast(integer(frees + {8 * int(node.value)}) + ({index}) * SIZE)"
        return f"load_full({self.base_address(access.node)} + ({index}) * ROW)"

    def _write_store(self, access: Access, dims: Sequence["Dim"], value: str) -> str:
        return f"store_full({self.base_address(access.node)} + ({_write_index(access, dims)}) * ROW, {value})"

    def _add_constant(self, constant: Constant) -> str:
        """Add a constant; return its address."""
        self.constants.append(constant)
        return f"integer(frees + {8 * (self.frees + len(self.constants) - 1)})"

    def _write_move(self, move: Move) -> list[str]:
        lines, places = [], []
        for name, table in (("from", move.sources), ("to", move.targets)):
            if table == tuple(range(table[0], table[0] + len(table))):
                places.append(f"{table[0]} + i")
            else:
                lines.append(f"{name}_table = {self._add_constant(Table(table))}")
                places.append(f"integer({name}_table + i * 8)")
        source, target = (
            f"{self.base_address(node)} + ({place}) * ROW"
            for node, place in zip((move.source, move.target), places, strict=True)
        )
        before = f"load_full({target}) + " if move.adds else ""
        return [
            *lines,
            f"for i in range({len(move.sources)}):",
            f"    store_full({target}, {before}load_full({source}))",
        ]

    def _write_product(self, product: Product) -> list[str]:
        left_free = self.graph.nodes[product.left.node].op == "free"
        right_free = self.graph.nodes[product.right.node].op == "free"
        assert not (left_free and right_free)
        if not left_free and not right_free:
            return self._write_sample_product(product)
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
        number = len(self.constants)
        lines, depth = [f"w = {self._add_constant(pack)}"], 0
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
            f"xa = {self._address(x, f'{g_term} * {xg} + {m_term} * {x_other}')}",
            f"oa = {self._address(product.out, f'{g_term} * {og} + {m_term} * {o_other}')}",
        ]
        if whole:
            inner += [
                f"for n in range({whole}):",
                *indent_lines(_write_product_block(self.block, terms, x_term, o_result)),
                f"    oa += {self.block * o_result} * ROW",
            ]
        if rest:
            inner += _write_product_block(rest, terms, x_term, o_result)
        body += indent_lines(inner, 1 if others > 1 else 0)
        return [*lines, *indent_lines(body, depth)]

    def _write_sample_product(self, product: Product) -> list[str]:
        groups, rows, terms, columns = product.sizes
        left, right, out = product.left, product.right, product.out
        lines, depth = [], 0
        for name, size in (("g", groups), ("j", columns)):
            if size > 1:
                lines += indent_lines([f"for {name} in range({size}):"], depth)
                depth += 1
        g, j = ("g" if groups > 1 else "0"), ("j" if columns > 1 else "0")
        inner = [
            f"la = {self._address(left, f'{g} * {left.strides[0]}')}",
            f"ra = {self._address(right, f'{g} * {right.strides[0]} + {j} * {right.strides[2]}')}",
            f"oa = {self._address(out, f'{g} * {out.strides[0]} + {j} * {out.strides[2]}')}",
        ]
        block = min(4, rows)
        whole, rest = divmod(rows, block)

        row, term = left.strides[1:]

        def write_rows(count: int) -> list[str]:
            return [
                *(f"a{q} = lanes(0.0)" for q in range(count)),
                f"for k in range({terms}):",
                f"    r = load_full(ra + k * {right.strides[1]} * ROW)",
                *(f"    a{q} = muladd(load_full(la + ({q * row} + k * {term}) * ROW), r, a{q})" for q in range(count)),
                *(f"store_full(oa + {q} * {out.strides[1]} * ROW, a{q})" for q in range(count)),
            ]

        inner += [
            f"for n in range({whole}):",
            *indent_lines([*write_rows(block), f"la += {block * row} * ROW", f"oa += {block * out.strides[1]} * ROW"]),
        ]
        if rest:
            inner += write_rows(rest)
        return [*lines, *indent_lines(inner, depth)]


def _write_product_block(count: int, terms: int, x_term: int, o_result: int) -> list[str]:
    """Write the computation of ``count`` results of a product with a packed matrix; ``w`` advances."""
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


def merge_loops(shape: Shape, dims: Sequence[int], accesses: Sequence[Access]) -> list[Dim]:
    """Return loops over these dimensions; neighbouring ones are merged if every access allows it.

    Args:
        shape: sizes of all dimensions.
        dims: dimensions of the loops.
        accesses: accesses to the memory that is read and written.
    """
    loops: list[Dim] = []
    for d in dims:
        strides = {access: access.strides[d] for access in accesses if len(access.strides) > d}
        strides = {access: strides.get(access, 0) for access in accesses}
        if loops and all(loops[-1][1][a] == strides[a] * shape[d] for a in accesses):
            loops[-1] = (loops[-1][0] * shape[d], strides)
        else:
            loops.append((shape[d], strides))
    return loops


def _write_index(access: Access, dims: Sequence[Dim]) -> str:
    terms = [str(access.offset)] if access.offset else []
    terms += [f"i{n}" + (f" * {s[access]}" if s[access] != 1 else "") for n, (_, s) in enumerate(dims) if s[access]]
    return " + ".join(terms) or "0"


def place_in_sequence(graph: TensorGraph, nodes: Iterable[int]) -> tuple[dict[int, int], int]:
    """Place nodes one after another; return their positions and the total size."""
    places, end = {}, 0
    for node in nodes:
        places[node] = end
        end += size_of(graph.shapes[node])
    return places, end


def indent_lines(lines: Iterable[str], depth: int = 1) -> list[str]:
    """Indent lines by ``depth`` levels of four spaces."""
    return ["    " * depth + line for line in lines]


def allocate_places(plan: Plan, graph: TensorGraph, always: Iterable[int], lanes: int) -> tuple[dict[int, int], int]:
    """Allocate a place for each node with memory of its own; memory is reused after the last use of a node."""
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
