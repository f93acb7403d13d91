"""Finite groups by their multiplication tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Integer


@dataclass(frozen=True, eq=False)
class FiniteGroup:
    """The elements 0 ... n - 1 of a group, the first of them the identity.

    Attributes:
        names: of the elements.
        table: row a, column b: the product a b, [n, n].
    """

    names: list[str]
    table: Integer[np.ndarray, "n n"]


def create_cyclic(size: int) -> FiniteGroup:
    """Create the cyclic group: addition modulo ``size``."""
    elements = np.arange(size)
    return FiniteGroup([str(element) for element in elements], (elements[:, None] + elements) % size)


def create_symmetric(points: int) -> FiniteGroup:
    """Create the group of all permutations of 1 ... ``points``; a product a b applies b first."""
    return compose(list(permutations(range(points))))


def create_alternating(points: int) -> FiniteGroup:
    """Create the group of the even permutations of 1 ... ``points``; a product a b applies b first."""
    return compose([each for each in permutations(range(points)) if count_inversions(each) % 2 == 0])


def create_product(one: FiniteGroup, other: FiniteGroup) -> FiniteGroup:
    """Create the direct product: pairs, multiplied each by itself."""
    size = len(other.names)
    table = np.kron(one.table, np.ones_like(other.table)) * size + np.tile(other.table, one.table.shape)
    return FiniteGroup([f"{first},{second}" for first in one.names for second in other.names], table)


def compose(elements: Sequence[tuple[int, ...]]) -> FiniteGroup:
    """Multiply permutations, given in lexicographic order, by composing them; each is named by its values."""
    places = {element: place for place, element in enumerate(elements)}
    table = [[places[tuple(a[value] for value in b)] for b in elements] for a in elements]
    return FiniteGroup(["".join(str(value + 1) for value in element) for element in elements], np.array(table))


def count_inversions(permutation: Sequence[int]) -> int:
    """Count the pairs of values in the wrong order, an even number for an even permutation."""
    return sum(earlier > later for place, later in enumerate(permutation) for earlier in permutation[:place])


GROUPS: dict[str, Callable[[], FiniteGroup]] = {
    "S3": lambda: create_symmetric(3),
    "A5": lambda: create_alternating(5),
    "S5": lambda: create_symmetric(5),
    "Z60": lambda: create_cyclic(60),
    "A4xZ5": lambda: create_product(create_alternating(4), create_cyclic(5)),
}
"""The groups of the task ``group``."""
