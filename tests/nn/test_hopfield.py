import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from remanence.nn import Hopfield, ModernHopfield


def signs(*shape):
    return torch.randint(2, shape) * 2.0 - 1


@pytest.mark.parametrize("rule", ["hebb", "pseudo_inverse", "storkey"])
@pytest.mark.parametrize("update", ["sequential", "synchronous"])
def test_recalls_what_it_holds_from_distorted_cues(rule, update):
    memory, patterns = Hopfield(120, rule=rule), signs(6, 120)
    memory.store(patterns[:2])
    memory.store(patterns[2:])
    cues = patterns.clone()
    cues[:, :12] *= -1
    assert torch.equal(memory(cues, update=update), patterns)


def test_hebb_is_the_sum_of_outer_products():
    memory, patterns = Hopfield(5), signs(3, 5)
    memory.store(patterns)
    expected = np.sum([np.outer(p, p) for p in patterns.numpy()], 0) / 5
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(memory.weight, expected, atol=1e-7)


def test_pseudo_inverse_is_the_projection():
    memory, patterns = Hopfield(40, rule="pseudo_inverse").double(), signs(30, 40).double()
    memory.store(torch.cat([patterns, patterns[:3]]))  # what is known already changes nothing
    x = patterns.numpy().T
    np.testing.assert_allclose(memory.weight, x @ np.linalg.pinv(x), atol=1e-9)
    assert torch.equal(memory(patterns), patterns)


def test_storkey_is_the_rule_of_the_paper():
    memory, patterns = Hopfield(6, rule="storkey").double(), signs(4, 6).double()
    memory.store(patterns)
    n, w = 6, np.zeros((6, 6))
    for ξ in patterns.numpy():
        h = np.array([[sum(w[i, k] * ξ[k] for k in range(n) if k not in (i, j)) for j in range(n)] for i in range(n)])
        before = w.copy()
        for i in range(n):
            for j in range(n):
                if i != j:
                    w[i, j] = before[i, j] + (ξ[i] * ξ[j] - ξ[i] * h[j, i] - h[i, j] * ξ[j]) / n
    np.testing.assert_allclose(memory.weight, w, atol=1e-12)


@pytest.mark.parametrize("rule", ["hebb", "pseudo_inverse", "storkey"])
def test_energy_never_rises_and_recall_ends_in_a_fixed_point(rule):
    memory = Hopfield(50, rule=rule).double()
    memory.store(signs(12, 50).double())
    state = signs(20, 50).double()
    energies = [memory.energy(state)]
    for _ in range(30):
        state = memory(state, sweeps=1)
        energies.append(memory.energy(state))
    assert (torch.diff(torch.stack(energies), dim=0) <= 1e-9).all()
    assert torch.equal(memory(state), state)
    assert torch.equal(memory(state, update="synchronous", sweeps=1), state)


def test_energy_is_that_of_the_definition():
    memory, state = Hopfield(5), signs(1, 5)
    memory.store(signs(3, 5))
    w, s = memory.weight, state[0]
    expected = -0.5 * sum(w[i, j] * s[i] * s[j] for i in range(5) for j in range(5))
    torch.testing.assert_close(memory.energy(state)[0], expected)


def test_synchronous_updates_may_cycle_where_sequential_ones_rest():
    memory = Hopfield(2)
    memory.weight.copy_(torch.tensor([[0.0, 1], [1, 0]]))
    state = torch.tensor([[1.0, -1]])
    assert torch.equal(memory(state, update="synchronous", sweeps=1), -state)
    rest = memory(state)
    assert rest[0, 0] == rest[0, 1]


def test_a_modern_update_is_attention():
    memory, patterns, cues = (
        ModernHopfield(8, beta=1.7).double(),
        torch.randn(20, 8).double(),
        torch.randn(5, 8).double(),
    )
    memory.store(patterns[:10])
    memory.store(patterns[10:])
    expected = F.scaled_dot_product_attention(cues, patterns, patterns, scale=1.7)
    torch.testing.assert_close(memory(cues), expected)


def test_modern_energy_never_rises_nor_falls_below_zero_and_its_gradient_is_the_update():
    memory = ModernHopfield(8, beta=0.7).double()
    memory.store(torch.randn(20, 8).double())
    state = torch.randn(5, 8).double().requires_grad_()
    (gradient,) = torch.autograd.grad(memory.energy(state).sum(), state)
    torch.testing.assert_close(gradient, (state - memory(state)).detach())
    energies = torch.stack([memory.energy(memory(state, updates=n)) for n in range(10)])
    assert (torch.diff(energies, dim=0) <= 1e-12).all()
    assert (energies >= 0).all()


def test_modern_capacity_is_far_beyond_the_size():
    memory, patterns = ModernHopfield(64, beta=1.0), signs(2000, 64)
    memory.store(patterns)
    cues = patterns.clone()
    cues[:, :6] *= -1
    assert (memory(cues, updates=2).sign() == patterns).double().mean() > 0.999


@pytest.mark.parametrize("make", [lambda: Hopfield(4, rule="storkey"), lambda: ModernHopfield(4)])
def test_saves_what_it_holds(make):
    memory, again, cue = make(), make(), signs(2, 4)
    memory.store(signs(3, 4))
    again.load_state_dict(memory.state_dict())
    assert torch.equal(again(cue), memory(cue))
    assert "4" in repr(memory)


@pytest.mark.unchecked
@pytest.mark.parametrize("rule", ["hebb", "pseudo_inverse", "storkey"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("advice", [r"pass (.*?), if", r"or (torch\.where.*)$"])
def test_what_the_message_about_zeros_and_ones_advises_is_accepted(rule, dtype, advice):
    """Pixels, as they come: 2 * 0 - 1 is 255 in bytes."""
    pixels = torch.tensor([[0, 1, 0, 1, 0], [1, 1, 0, 0, 1]]).to(dtype)
    memory = Hopfield(5, rule=rule)
    with pytest.raises(ValueError, match="if they are of 0 and 1") as error:
        memory.store(pixels)
    (expression,) = re.findall(advice, str(error.value))
    advised = eval(expression, {"torch": torch, "patterns": pixels, "threshold": 0.5})
    assert advised.tolist() == [[-1, 1, -1, 1, -1], [1, 1, -1, -1, 1]]
    memory.store(advised)
    expected = Hopfield(5, rule=rule)
    expected.store(advised.float())
    assert torch.equal(memory.weight, expected.weight)


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match="hebb, pseudo_inverse, storkey"):
        Hopfield(3, rule="delta")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"-1 and 1: pass 2\.0 \* patterns - 1, if they are of 0 and 1"):
        Hopfield(3).store(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"\[batch, 3\].*\[1, 4\]"):
        Hopfield(3)(torch.ones(1, 4))
    with pytest.raises(ValueError, match="'sequential' or 'synchronous'"):
        Hopfield(3)(torch.ones(1, 3), update="both")
    with pytest.raises(ValueError, match="call store"):
        ModernHopfield(3)(torch.ones(1, 3))
    with pytest.raises(ValueError, match="beta"):
        ModernHopfield(3, beta=0)
