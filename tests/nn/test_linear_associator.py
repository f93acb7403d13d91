import pytest
import torch
from scipy.integrate import solve_ivp

from remanence.nn import LinearAssociator


def test_orthogonal_keys_recall_exactly():
    q, _ = torch.linalg.qr(torch.randn(8, 8).double())
    keys, values = 3 * q[:5], torch.randn(5, 3).double()
    memory = LinearAssociator(8, 3).double()
    memory.store(keys[:2], values[:2])
    memory.store(keys[2:], values[2:])
    torch.testing.assert_close(memory(keys), values)
    assert memory.crosstalk(keys, values).abs().max() < 1e-12


def test_crosstalk_of_other_keys_is_the_sum_over_the_others():
    keys, values = torch.randn(4, 6).double(), torch.randn(4, 2).double()
    memory = LinearAssociator(6, 2).double()
    memory.store(keys, values)
    expected = torch.zeros(4, 2).double()
    for k in range(4):
        for j in range(4):
            if j != k:
                expected[k] += values[j] * (keys[j] @ keys[k]) / (keys[j] @ keys[j])
    torch.testing.assert_close(memory.crosstalk(keys, values), expected)


def test_autoassociation_completes_a_key_from_a_part_of_it():
    keys = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    memory = LinearAssociator(4)
    memory.store(keys)
    torch.testing.assert_close(memory(torch.tensor([[2.0, 0, 0, 0]])), keys[:1])


def test_drift_is_the_limit_of_small_hebbian_steps():
    keys, weight = torch.randn(7, 3).double(), torch.randn(2, 3).double()
    memory, steps = LinearAssociator(3, 2).double(), 20_000
    memory.weight.copy_(weight)
    memory.drift(keys, 0.4)
    by_steps = weight.clone()
    for _ in range(steps):
        by_steps += 0.4 / steps * (by_steps @ keys.T) @ keys / 7  # the mean of y xᵀ
    torch.testing.assert_close(memory.weight, by_steps, rtol=1e-3, atol=1e-3)
    correlation = (keys.T @ keys / 7).numpy()
    solved = solve_ivp(lambda t, w: correlation @ w, (0, 0.4), weight[0].numpy(), rtol=1e-9, atol=1e-11).y[:, -1]
    torch.testing.assert_close(memory.weight[0], torch.from_numpy(solved))


def test_saves_its_memory():
    memory, again = LinearAssociator(4, 2), LinearAssociator(4, 2)
    memory.store(torch.randn(2, 4), torch.randn(2, 2))
    again.load_state_dict(memory.state_dict())
    assert torch.equal(again.weight, memory.weight)
    assert "output_size=2" in repr(memory)


@pytest.mark.unchecked
def test_refuses():
    with pytest.raises(ValueError, match="positive integer"):
        LinearAssociator(0)
    with pytest.raises(ValueError, match=r"\[3, 2\].*\[3, 4\]"):
        LinearAssociator(4, 2).store(torch.randn(3, 4))
    with pytest.raises(ValueError, match="key 1"):
        LinearAssociator(2).store(torch.tensor([[1.0, 0], [0, 0]]))
