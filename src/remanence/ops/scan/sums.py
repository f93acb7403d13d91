"""Factors sums over time: a factor that is constant in time is multiplied once, after the sum."""

from dataclasses import dataclass

from remanence.ops.scan.pointwise_graph import Builder, Graph

Form = dict[int, int]
"""A value as Σ factor · term: maps factors, which are constant in time, to terms, which are not."""


@dataclass(frozen=True)
class Sums:
    """Terms to add up over time, and the sums that they make.

    Attributes:
        graph: its outputs are those that are not added up, then the terms, then the factors.
        terms: positions of the terms.
        totals: for each sum, pairs of the position of a factor and the number of a term: it is Σ factor · total.
    """

    graph: Graph
    terms: tuple[int, ...]
    totals: tuple[tuple[tuple[int, int], ...], ...]


def factor_sums(graph: Graph, first: int) -> Sums:
    """Factor the outputs from ``first`` on, which are added up over time: move constant factors out of the sums."""
    factoring = _Factorization(graph)
    forms = [factoring.factor(output) for output in graph.outputs[first:]]
    signed = [[factoring.positive(factor, term) for factor, term in form.items()] for form in forms]
    terms = list(dict.fromkeys(term for form in signed for _, term in form))
    factors = [factor for form in signed for factor, _ in form]
    whole = factoring.builder.build_graph([*graph.outputs[:first], *terms, *factors])
    kept = whole.outputs[first : first + len(terms)]
    places = iter(whole.outputs[first + len(terms) :])
    totals = tuple(tuple((next(places), terms.index(term)) for _, term in form) for form in signed)
    return Sums(whole, kept, totals)


class _Factorization:
    def __init__(self, graph: Graph):
        self.builder = Builder()
        self._fixed: set[int] = set()
        for node in graph.nodes:  # they keep their positions
            self._note_fixed(self.builder.add(node.op, *node.arguments, value=node.value))
        self._one = self._note_fixed(self.builder.constant(1.0))

    def factor(self, position: int) -> Form:
        """Write a value as a sum of products."""
        node = self.builder.nodes[position]
        as_it_is = {self._one: position}
        if position in self._fixed or node.op not in ("add", "sub", "neg", "mul", "div"):
            return as_it_is
        if node.op in ("mul", "div"):
            return self._scale(node.op, *node.arguments) or as_it_is
        forms = [self.factor(argument) for argument in node.arguments]
        if all(form.keys() == as_it_is.keys() for form in forms):
            return as_it_is
        left, right = forms if len(forms) == 2 else ({}, forms[0])
        if node.op != "add":
            right = {factor: self._add("neg", term) for factor, term in right.items()}
        both = {factor: self._add("add", left[factor], right[factor]) for factor in left if factor in right}
        return {**left, **right, **both}

    def positive(self, factor: int, term: int) -> tuple[int, int]:
        """The same product with a term that is not the negative of another."""
        node = self.builder.nodes[term]
        return (self._add("neg", factor), node.arguments[0]) if node.op == "neg" else (factor, term)

    def _scale(self, op: str, left: int, right: int) -> Form | None:
        """Factor a product or a quotient; return None if neither operand is constant in time."""
        if op == "mul" and left in self._fixed:
            left, right = right, left
        if right not in self._fixed:
            return None
        form = self.factor(left)
        if self.builder.nodes[right].op != "constant":
            return {self._add(op, factor, right): term for factor, term in form.items()}
        if form.keys() == {self._one}:
            return None
        return {factor: self._add(op, term, right) for factor, term in form.items()}

    def _add(self, op: str, *arguments: int) -> int:
        return self._note_fixed(self.builder.apply(op, *arguments))

    def _note_fixed(self, position: int) -> int:
        """Note whether a new node is constant in time; return its position."""
        node = self.builder.nodes[position]
        if node.op in ("constant", "param") or (node.arguments and self._fixed.issuperset(node.arguments)):
            self._fixed.add(position)
        return position
