from itertools import permutations

import numpy as np
import pytest
import torch
from sympy.combinatorics import Permutation
from sympy.combinatorics.named_groups import AlternatingGroup, SymmetricGroup

from remanence import tasks
from remanence.tasks.finite_groups import GROUPS

ORDERS = {"S3": 6, "A5": 60, "S5": 120, "Z60": 60, "A4xZ5": 60}
COMMUTATIVE = {"Z60"}


@pytest.mark.parametrize("name", GROUPS)
def test_the_axioms_of_a_group_hold(name):
    group = GROUPS[name]()
    table, elements = group.table, np.arange(ORDERS[name])
    assert table.shape == (len(elements), len(elements))
    assert len(set(group.names)) == len(elements)
    assert (table[0] == elements).all()
    assert (table[:, 0] == elements).all()
    assert (np.sort(table, axis=0) == elements[:, None]).all()  # each row and each column has every element once
    assert (np.sort(table, axis=1) == elements).all()
    assert (table[table] == table[:, table]).all()  # (a b) c = a (b c)
    assert (table == table.T).all() == (name in COMMUTATIVE)


@pytest.mark.parametrize(("name", "reference"), [("S3", SymmetricGroup(3)), ("A5", AlternatingGroup(5))])
def test_permutations_multiply_as_in_sympy(name, reference):
    group = GROUPS[name]()
    ours = [Permutation([int(digit) - 1 for digit in word]) for word in group.names]
    assert set(ours) == set(reference.elements)
    for a, row in zip(ours, group.table, strict=True):
        # SymPy's product applies the left one first.
        assert [ours[product] for product in row] == [b * a for b in ours]


def test_orders_of_elements_tell_the_groups_of_sixty_elements_apart():
    """The number of elements of each order: A5 has 24 of order 5; Z60 has one of order 2, and 16 generators."""

    def count(name):
        table, counts = GROUPS[name]().table, {}
        for element in range(len(table)):
            power, order = element, 1
            while power:
                power, order = table[power, element], order + 1
            counts[order] = counts.get(order, 0) + 1
        return counts

    assert count("A5") == {1: 1, 2: 15, 3: 20, 5: 24}
    assert count("Z60") == {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 2, 10: 4, 12: 4, 15: 8, 20: 8, 30: 8, 60: 16}
    assert count("A4xZ5") == {1: 1, 2: 3, 3: 8, 5: 4, 10: 12, 15: 32}
    assert count("S5") == {1: 1, 2: 25, 3: 20, 4: 30, 5: 24, 6: 20}


@pytest.mark.parametrize("group", ["S3", "A5", "S5"])
def test_products_of_permutations_so_far(group):
    task = tasks.create("group", group=group, length=30, train=20)
    assert task.vocabulary is not None
    assert task.vocabulary[0] == "123456"[: len(task.vocabulary[0])]
    for elements, products in task.dataset("train"):
        state = task.vocabulary[0]
        for element, product in zip(elements.tolist(), products.tolist(), strict=True):
            word = task.vocabulary[element]
            state = "".join(state[int(digit) - 1] for digit in word)  # (a b)(i) = a(b(i))
            assert task.vocabulary[product] == state


def test_sums_in_the_cyclic_group():
    for elements, sums in tasks.create("group", group="Z60", length=30, train=20).dataset("train"):
        assert sums.tolist() == [sum(elements[: step + 1].tolist()) % 60 for step in range(30)]


def test_every_element_and_product_is_as_likely_so_chance_is_a_guess():
    task = tasks.create("group", group="S3")
    batch = task.dataset("train").batch(range(3000))
    for part in (batch.inputs, batch.targets):
        assert np.abs(np.bincount(part.flatten()) - 20_000).max() < 700
    assert float(task.measure(torch.rand(3000, 40, 6), batch.targets)) == pytest.approx(task.chance, abs=0.01)
    assert task.chance == pytest.approx(5 / 6)


def test_names_are_permutations_in_lexicographic_order():
    assert GROUPS["S3"]().names == ["".join(each) for each in permutations("123")]


@pytest.mark.unchecked
def test_an_unknown_group_is_refused():
    with pytest.raises(ValueError, match="group must be one of S3, A5, S5, Z60, A4xZ5, got 'M11'"):
        tasks.create("group", group="M11")
