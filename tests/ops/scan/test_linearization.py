import pytest
import torch

from remanence.ops.scan.interpreter import evaluate
from remanence.ops.scan.linearization import linearize, linearize_for_search
from remanence.ops.scan.trace import TracedStep


def pair(state, inputs, params):
    (q, r), (x,), (a,) = state, inputs, params
    return torch.tanh(a * q - r * r + x), torch.sigmoid(q * r) + torch.where(q > 0, x, r)


def chain(state, inputs, params):
    """Each state is fed by itself and by the one before it."""
    before = (inputs[0], *state[:-1])
    return tuple(torch.tanh(params[0] * h + g * g) for h, g in zip(state, before, strict=True))


def apart(state, inputs, params):
    return tuple(torch.tanh(h * params[0] * (i + 1) + inputs[0]) for i, h in enumerate(state))


def evaluated(step, states, kind):
    """New states, and the Jacobian or its diagonal as it came, at random points [4, 3]."""
    generator = torch.Generator().manual_seed(0)
    points = [torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(states + 2)]
    state, x, a = tuple(points[:states]), points[states], points[-1][0]
    linearization = kind(TracedStep(step, (states, 1, 1), 4, 3, torch.float64))
    values = {"state": state, "input": (x,), "param": (a,)}
    results = [result.expand(4, 3) for result in evaluate(linearization.graph, values, x)]
    by_autograd = torch.func.vmap(torch.func.vmap(torch.func.jacrev(lambda s, x, a: torch.stack(step(s, (x,), (a,))))))
    rows = torch.stack(by_autograd(state, x, a.expand(4, 3)))  # [from, 4, 3, to]
    return results[states:], rows.permute(3, 0, 1, 2), linearization


@pytest.mark.parametrize(("step", "states"), [(pair, 2), (chain, 1), (chain, 3), (chain, 6)])
def test_is_the_jacobian_of_autograd(step, states):
    ours, expected, _ = evaluated(step, states, linearize)
    torch.testing.assert_close(torch.stack(ours), expected.flatten(0, 1) if states > 1 else expected[0])


def test_only_the_diagonal_of_many_states():
    ours, expected, linearization = evaluated(chain, 6, linearize_for_search)
    assert linearization.diagonal
    torch.testing.assert_close(torch.stack(ours), expected.diagonal().movedim(-1, 0))


@pytest.mark.parametrize("kind", [linearize, linearize_for_search])
@pytest.mark.parametrize("states", [1, 2, 5])
def test_states_that_do_not_meet_need_no_blocks(states, kind):
    ours, expected, linearization = evaluated(apart, states, kind)
    assert linearization.diagonal
    torch.testing.assert_close(torch.stack(ours), expected.diagonal().movedim(-1, 0))


def test_what_is_known_folds_away():
    traced = TracedStep(chain, (3, 1, 1), 4, 3, torch.float32)
    graph = linearize(traced).graph
    assert not graph.find_placeholders("cotangent")
    assert graph.count_operations() < traced.forward.count_operations() + 2 * traced.vjp((True,) * 5).count_operations()
