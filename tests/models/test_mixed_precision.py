"""Memory, projection and MLP train in bfloat16: the recurrence and the parameters stay in float32."""

import pytest
import torch

from remanence import nn
from remanence.models import Transformer
from remanence.models.block import Block
from remanence.models.mixer import MemoryMixer
from remanence.nn import attention


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("mixer", [*nn.layers, *attention.methods])
def test_gradients_in_bfloat16_are_those_of_float32(mixer, device):
    torch.manual_seed(0)
    model = Transformer(3, mixer=mixer, vocabulary_size=3, layers=1, width=16, heads=2, max_length=64).to(device).eval()
    x = torch.randint(3, (8, 12), device=device)

    def gradients(enabled):
        with torch.autocast(device, dtype=torch.bfloat16, enabled=enabled):
            output = model(x)
        assert output.dtype == (torch.bfloat16 if enabled else torch.float32)
        found = torch.autograd.grad(output.float().square().sum(), list(model.parameters()), allow_unused=True)
        return [torch.zeros(1, device=device) if grad is None else grad for grad in found]

    for (name, parameter), ours, exact in zip(
        model.named_parameters(), gradients(enabled=True), gradients(enabled=False), strict=True
    ):
        assert parameter.dtype == ours.dtype == torch.float32, name
        assert ours.isfinite().all(), name
        if exact.norm() > 1e-2:  # smaller ones are lost among the rounding of larger ones
            assert torch.cosine_similarity(ours.flatten(), exact.flatten(), dim=0) > 0.9, name
            assert (ours - exact).norm() < 0.5 * exact.norm(), name


def test_the_memory_keeps_its_state_in_float32():
    model = Transformer(3, vocabulary_size=3, mixer="cff", layers=1, width=16, max_length=12)
    block = model.blocks[0]
    assert isinstance(block, Block)
    assert isinstance(block.mixer, MemoryMixer)
    memory = block.mixer.memories[0]
    states = []
    memory.register_forward_hook(lambda module, inputs, output: states.append(output[1]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(torch.randint(3, (2, 12)))
    assert [state.dtype for state in states[0]] == [torch.float32, torch.float32]
