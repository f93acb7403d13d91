import pytest
import torch

from remanence.nn import attention

SMALL = {
    "local": {"radius": 3},
    "strided": {"stride": 4},
    "longformer": {"radius": 3, "global_tokens": 2},
    "bigbird": {"block": 4},
    "linformer": {"rank": 5},
    "performer": {"features": 16},
    "reformer": {"chunk": 3, "buckets": (2, 2)},
    "sinkhorn": {"block": 4},
}

WAYS = [
    (name, causal) for name in attention.methods for causal in (False, True) if not (causal and name == "linformer")
]


@pytest.fixture
def make():
    """Build a method in float64 and evaluation mode, small enough that 17 positions are several blocks."""

    def build(name, *, causal=False, max_length=80, heads=2, width=8, **options):
        options = {**SMALL.get(name, {}), **options}
        layer = attention.create(name, width=width, heads=heads, causal=causal, max_length=max_length, **options)
        return layer.double().eval()

    return build


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}-causal" if way[1] else way[0])
def layer(request, make):
    """Each method, causal or not."""
    name, causal = request.param
    return make(name, causal=causal)


@pytest.fixture
def explicit():
    """Softmax attention with the projections of a layer, position by position, where ``seen(i, j)`` says so."""

    def compute(layer, x, seen):
        q, k, v = (layer._split(part) for part in layer.project_in(x).chunk(3, -1))
        time = x.shape[1]
        allowed = torch.tensor([[seen(i, j) for j in range(time)] for i in range(time)])
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
        return layer.project_out((weights @ v).transpose(1, 2).flatten(2))

    return compute
