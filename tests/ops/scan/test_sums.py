"""What is added up over time, with what does not change taken out, gives the same total."""

import torch
from grammar import problems
from hypothesis import given, settings

from remanence.ops.scan.interpreter import evaluate
from remanence.ops.scan.pointwise_graph import Graph
from remanence.ops.scan.sums import factor_sums
from remanence.ops.scan.trace import TracedStep


def both_totals(graph: Graph, first: int, values):
    """The totals over five steps, term by term, and factored."""
    like = values["param"][0]
    direct = [x.expand(5, like.shape[0]).sum(0) for x in evaluate(graph, values, like)[first:]]
    sums = factor_sums(graph, first)
    results = evaluate(sums.graph, values, like)
    terms = [x.expand(5, like.shape[0]).sum(0) for x in evaluate(Graph(sums.graph.nodes, sums.terms), values, like)]
    by_position = dict(zip(sums.graph.outputs, results, strict=True))
    return direct, [sum(by_position[factor] * terms[i] for factor, i in total) for total in sums.totals]


def drawn(counts, dtype=torch.float64):
    states, inputs, params = counts
    values = {"state": states, "input": inputs, "cotangent": states}
    values = {kind: [torch.randn(5, 7, dtype=dtype) for _ in range(count)] for kind, count in values.items()}
    return {**values, "param": [torch.rand(7, dtype=dtype) + 0.5 for _ in range(params)]}


@settings(max_examples=30, deadline=None, database=None)
@given(problems(dtypes=(torch.float64,)))
def test_random_steps(problem):
    states, inputs, params = problem.counts
    if not params:
        return
    graph = TracedStep(problem.step, problem.counts, 5, 7, torch.float64).vjp((True,) * sum(problem.counts))
    values = drawn(problem.counts)
    torch.testing.assert_close(*both_totals(graph, states + inputs, values), rtol=1e-9, atol=1e-9, equal_nan=True)


def rates(state, inputs, params):
    """Every parameter behind a function that is the same at all times."""
    (h,), (x,), (log_c, log_g, v) = state, inputs, params
    rate = torch.exp(log_g) / torch.exp(log_c)
    return (h + rate * (v - h) - 2 * rate * x,)


def test_functions_of_parameters_leave_the_loop():
    traced = TracedStep(rates, (1, 1, 3), 5, 7, torch.float64)
    graph = traced.vjp((True,) * 5)
    torch.testing.assert_close(*both_totals(graph, 2, drawn((1, 1, 3))))
    sums = factor_sums(graph, 2)
    assert len(sums.terms) == 2  # Σ g (v - h - 2 x), and Σ g for v
    assert [len(total) for total in sums.totals] == [1, 1, 1]
