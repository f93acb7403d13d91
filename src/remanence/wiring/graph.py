"""The wiring class, and conversions from and to other kinds of graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int8, Int64

from remanence.errors import UserError
from remanence.extras import require_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@runtime_checkable
class SparseMatrix(Protocol):
    """A matrix or array of SciPy."""

    def toarray(self) -> np.ndarray:
        """The same, dense."""
        ...


@runtime_checkable
class Graph(Protocol):
    """A graph of networkx."""

    @property
    def nodes(self) -> Any:
        """The neurons."""
        ...

    @property
    def edges(self) -> Any:
        """The synapses."""
        ...


Adjacency: TypeAlias = Sequence[Sequence[int | float]] | np.ndarray | torch.Tensor | SparseMatrix | Graph
"""What :meth:`Wiring.of` takes."""


@dataclass(frozen=True, eq=False)
class Wiring:
    """Who is connected to whom: A_ij = +1 is a synapse from j to i that excites, -1 one that inhibits, 0 none.

    The row receives. Arrays are read-only. To make one from another kind of graph: :meth:`Wiring.of`.

    Attributes:
        adjacency: A, [neurons, neurons].
        sensory: the same from the inputs, [neurons, inputs]; None: every input reaches every neuron.
        layer: the layer of every neuron, [neurons], 0 next to the input, the highest the output; None: all are one.
        shape: sides of the lattice that the neurons fill in C order, for pictures; default: (neurons,), a ring.

    Raises:
        ValueError: an adjacency that is not square, or parts that do not fit together.
    """

    adjacency: Int8[np.ndarray, "neurons neurons"]
    sensory: Int8[np.ndarray, "neurons inputs"] | None = None
    layer: Int8[np.ndarray, " neurons"] | None = None
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_matrix("adjacency", self.adjacency)
        rows, columns = self.adjacency.shape
        if rows != columns or not rows:
            raise UserError(f"a wiring needs a square matrix [neurons, neurons], got {rows} x {columns}")
        if self.sensory is not None:
            _check_matrix("sensory", self.sensory)
            if len(self.sensory) != rows:
                raise UserError(
                    f"sensory must be [neurons, inputs] with {rows} neurons as adjacency has, "
                    f"got {list(self.sensory.shape)}"
                )
        if self.layer is not None and self.layer.shape != (rows,):
            raise UserError(f"layer must have one entry for each of {rows} neurons, got {list(self.layer.shape)}")
        object.__setattr__(self, "shape", self.shape or (rows,))
        if np.prod(self.shape) != rows:
            raise UserError(f"shape must hold the {rows} neurons, got {self.shape}")
        for name in ("adjacency", "sensory", "layer"):
            if (array := getattr(self, name)) is not None:
                object.__setattr__(self, name, _make_read_only(array))

    @classmethod
    def of(cls, source: Adjacency) -> Wiring:
        """Create a wiring from a square matrix of -1, 0 and 1 in any form, or from a networkx graph.

        Args:
            source: nested lists, a NumPy array, a tensor or a SciPy sparse matrix A, where A_ij is the synapse from j
                to i; or a networkx graph, where an edge u -> v is a synapse from u to v (both ways if undirected) with
                the attribute ``sign``, +1 if it has none, and neurons are numbered in the order of the nodes.

        Raises:
            ValueError: not square, or an entry other than -1, 0 and 1.
        """
        if isinstance(source, Graph):
            return cls(_parse_signs("networkx graph", _convert_graph(source)))
        if isinstance(source, SparseMatrix):
            source = source.toarray()
        elif isinstance(source, torch.Tensor):
            source = source.detach().cpu().numpy()
        return cls(_parse_signs("matrix", np.asarray(source)))

    @property
    def neurons(self) -> int:
        """How many neurons."""
        return len(self.adjacency)

    @property
    def edges(self) -> Int64[np.ndarray, "edges 2"]:
        """Pairs (receiver, sender), sorted by receiver, then by sender."""
        return np.argwhere(self.adjacency)

    @property
    def signs(self) -> Int8[np.ndarray, " edges"]:
        """+1 or -1 for each of :attr:`edges`."""
        return self.adjacency[self.adjacency != 0]

    @property
    def outputs(self) -> Int64[np.ndarray, " outputs"]:
        """The neurons that are read: those of the last layer."""
        return np.arange(self.neurons) if self.layer is None else np.flatnonzero(self.layer == self.layer.max())

    def with_signs(self, inhibitory: float, seed: int = 0) -> Wiring:
        """Return the same synapses with new signs.

        Args:
            inhibitory: the share of synapses that inhibit, 0 to 1; which ones is drawn, how many is not (rounded).
                Synapses between neurons and those from inputs are drawn apart.
            seed: the seed of the draw.

        Raises:
            ValueError: a share outside 0 to 1.
        """
        if not 0 <= inhibitory <= 1:
            raise UserError(f"inhibitory must be a fraction between 0 and 1, got {inhibitory}")
        rng = np.random.default_rng(seed)
        adjacency = _draw_signs(self.adjacency, inhibitory, rng)
        sensory = None if self.sensory is None else _draw_signs(self.sensory, inhibitory, rng)
        return Wiring(adjacency, sensory, self.layer, self.shape)

    def to_networkx(self) -> Any:
        """A ``networkx.DiGraph`` with an edge from sender to receiver and its ``sign``; inputs are left out."""
        with require_extra("analysis", "a graph of networkx"):
            import networkx

        graph = networkx.DiGraph()
        graph.add_nodes_from(range(self.neurons))
        graph.add_edges_from(
            (int(sender), int(receiver), {"sign": int(sign)})
            for (receiver, sender), sign in zip(self.edges, self.signs, strict=True)
        )
        return graph

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw it: arrows excite, dots inhibit; see :func:`remanence.wiring.picture.draw`."""
        with require_extra("analysis", "a picture"):
            from remanence.wiring.picture import draw

        return draw(self, axes)

    def __eq__(self, other: object) -> bool:
        """Whether every synapse, layer and side is the same."""
        if not isinstance(other, Wiring):
            return NotImplemented
        return all(_is_same(getattr(self, part), getattr(other, part)) for part in _PARTS)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inhibit = int((self.signs < 0).sum())
        inputs = "" if self.sensory is None else f", inputs={self.sensory.shape[1]}"
        return f"Wiring(neurons={self.neurons}, edges={len(self.edges)} of which {inhibit} inhibit{inputs})"


_PARTS = ("adjacency", "sensory", "layer", "shape")


def _is_same(a: Any, b: Any) -> bool:
    return (a is None) == (b is None) and np.array_equal(a, b)


def _check_matrix(name: str, array: np.ndarray) -> None:
    if array.ndim != 2 or array.dtype != np.int8 or np.abs(array).max(initial=0) > 1:
        raise UserError(
            f"{name} must be a matrix of int8 with entries -1, 0 and 1, got {list(array.shape)} of {array.dtype}: "
            "Wiring.of takes other kinds"
        )


def _make_read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def _parse_signs(kind: str, matrix: np.ndarray) -> Int8[np.ndarray, "rows columns"]:
    if matrix.ndim != 2:
        raise UserError(f"a wiring needs a square matrix [neurons, neurons], got shape {list(matrix.shape)}")
    wrong = matrix[~np.isin(matrix, (-1, 0, 1))]
    if wrong.size:
        raise UserError(
            f"the {kind} may hold only 1 (excites), -1 (inhibits) and 0 (no synapse), got {wrong[0]}: "
            "np.sign(...) removes the strength"
        )
    return matrix.astype(np.int8)


def _convert_graph(graph: Any) -> np.ndarray:
    if graph.is_multigraph():
        raise UserError(
            "a wiring has at most one synapse from one neuron to another, got a multigraph: pass nx.DiGraph(graph)"
        )
    index = {node: place for place, node in enumerate(graph.nodes)}
    matrix = np.zeros((len(index), len(index)))
    for sender, receiver, sign in graph.edges(data="sign", default=1):
        matrix[index[receiver], index[sender]] = sign
        if not graph.is_directed():
            matrix[index[sender], index[receiver]] = sign
    return matrix


def _draw_signs(matrix: np.ndarray, inhibitory: float, rng: np.random.Generator) -> np.ndarray:
    result = np.abs(matrix)
    places = np.flatnonzero(result)
    result.flat[rng.choice(places, size=round(inhibitory * len(places)), replace=False)] = -1
    return result
