"""Which of PyTorch's backends compute attention with a mask, and that what they give is finite."""

import pytest
import torch

from remanence.nn import attention
from remanence.nn.attention import fused

METHODS = ["full", "linformer"]
"""Those that call scaled_dot_product_attention."""


@pytest.mark.parametrize("causal", [False, True])
def test_with_a_mask_cudnn_is_kept_out(causal, monkeypatch):
    allowed = []
    original = fused.scaled_dot_product_attention

    def observed(*tensors, **options):
        allowed.append((options.get("attn_mask") is not None, torch.backends.cuda.cudnn_sdp_enabled()))
        return original(*tensors, **options)

    monkeypatch.setattr(fused, "scaled_dot_product_attention", observed)
    before = torch.backends.cuda.cudnn_sdp_enabled()
    layer = attention.create("full", width=8, heads=2, causal=causal)
    layer(torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool))
    assert allowed == [(True, False)]
    layer(torch.randn(2, 5, 8))
    assert allowed[1] == (False, before)
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


def test_nobody_else_calls_it():
    from pathlib import Path

    source = Path(fused.__file__).parents[2]
    users = [path.name for path in source.rglob("*.py") if "scaled_dot_product_attention(" in path.read_text()]
    assert users == ["fused.py"]


@pytest.mark.cuda
@pytest.mark.parametrize("length", [64, 192, 1856])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_with_a_mask_and_large_logits_are_finite(method, length):
    """What pytorch issue 196678 turns into NaN: bfloat16, a length of 64 modulo 128, rows that see little."""
    torch.manual_seed(0)
    layer = attention.create(method, width=64, heads=2, max_length=length).cuda()
    mask = torch.arange(length, device="cuda") < torch.tensor([length, length // 3, 1], device="cuda")[:, None]
    x = (30 * torch.randn(3, length, 64, device="cuda")).requires_grad_()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        y = layer(x, mask)
    y.float().square().mean().backward()
    assert y[mask].isfinite().all()
    for leaf in (x, *layer.parameters()):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
