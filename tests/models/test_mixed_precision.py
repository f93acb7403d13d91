"""Memory, projection and MLP train in bfloat16: the recurrence and the parameters stay in float32."""

import pytest
import torch

from remanence.models import Transformer

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("mixer", ["cff", "lstm", "full"])
def test_it_trains_in_bfloat16(mixer, device):
    torch.manual_seed(0)
    model = Transformer(3, vocabulary_size=3, mixer=mixer, layers=1, width=16, heads=2, max_length=12).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        x = torch.randint(3, (32, 12), device=device)
        with torch.autocast(device, dtype=torch.bfloat16):
            output = model(x)
            loss = torch.nn.functional.cross_entropy(output, x[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert output.dtype == torch.bfloat16
    assert all(torch.isfinite(torch.tensor(losses)))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    for name, parameter in model.named_parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32, name
        assert parameter.isfinite().all(), name


def test_the_memory_keeps_its_state_in_float32():
    model = Transformer(3, vocabulary_size=3, mixer="cff", layers=1, width=16, max_length=12)
    memory = model.blocks[0].mixer.memories[0]
    states = []
    memory.register_forward_hook(lambda module, inputs, output: states.append(output[1]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(torch.randint(3, (2, 12)))
    assert [state.dtype for state in states[0]] == [torch.float32, torch.float32]
