"""Linformer, Reformer, Sinkhorn and Synthesizer attention, against full attention and their formulas."""

import pytest
import torch
from torch.nn import functional as F

from remanence.nn.attention.sinkhorn import sinkhorn

BOTH = pytest.mark.parametrize("causal", [False, True])


def input_of(time):
    return torch.randn(2, time, 8, dtype=torch.float64)


def joined(layer, y):
    return layer.project_out(y.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("time", [1, 3, 17])
def test_linformer_with_the_identity_is_full_attention(make, explicit, time):
    layer = make("linformer", max_length=time, rank=time)
    with torch.no_grad():
        layer.compress.copy_(torch.eye(time))
    x = input_of(time)
    torch.testing.assert_close(layer(x), explicit(layer, x, lambda i, j: True))


def test_linformer_by_its_formula(make):
    layer, x = make("linformer"), input_of(17)
    q, k, v = (layer._split(part) for part in layer.project_in(x).chunk(3, -1))
    E = layer.compress[:, :17]
    weights = torch.einsum("bhtd,rs,bhsd->bhtr", q, E, k).div(2).softmax(-1)
    torch.testing.assert_close(layer(x), joined(layer, torch.einsum("bhtr,rs,bhsd->bhtd", weights, E, v)))


def shared_qk(layer, x, allowed):
    """Attention with normalised queries as keys, a position seeing itself only where it sees nothing else."""
    q, v = (layer._split(part) for part in layer.project_in(x).chunk(2, -1))
    scores = q @ F.normalize(q, dim=-1).transpose(-1, -2) / 2
    scores = scores - 1e5 * torch.eye(x.shape[1], dtype=x.dtype)
    return joined(layer, scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v)


@BOTH
@pytest.mark.parametrize("time", [1, 3, 17, 65])
@pytest.mark.parametrize("rounds", [1, 3])
def test_reformer_where_everything_hashes_alike_is_full_attention(make, time, causal, rounds):
    layer, x = make("reformer", causal=causal, chunk=65, buckets=(), rounds=rounds), input_of(time)
    allowed = torch.ones(time, time, dtype=torch.bool)
    torch.testing.assert_close(layer(x), shared_qk(layer, x, allowed.tril() if causal else allowed))


@BOTH
@pytest.mark.parametrize("time", [3, 17, 65])
@pytest.mark.parametrize(("rounds", "buckets"), [(1, (4,)), (2, (2,)), (3, (2, 4))])
def test_reformer_attends_to_the_union_of_what_is_near_in_each_round(make, time, causal, rounds, buckets):
    layer, x = make("reformer", causal=causal, chunk=3, rounds=rounds, buckets=buckets), input_of(time)
    q = layer._split(layer.project_in(x)[..., :8])
    allowed = torch.zeros(2, 2, time, time, dtype=torch.bool)
    for rotation in layer.rotations:
        hashes, start = torch.zeros(q.shape[:-1], dtype=torch.long), 0
        for size in buckets:
            rotated = q @ rotation[:, start : start + size // 2]
            hashes = hashes * size + torch.cat([rotated, -rotated], -1).argmax(-1)
            start += size // 2
        for index in [(b, h) for b in range(2) for h in range(2)]:
            for i in range(time):
                alike = [j for j in range(time) if hashes[index][j] == hashes[index][i]]
                for j in alike:
                    near = abs(alike.index(i) - alike.index(j)) <= 3
                    allowed[(*index, i, j)] |= near and not (causal and j > i)
    torch.testing.assert_close(layer(x), shared_qk(layer, x, allowed))


def test_near_queries_hash_alike_and_opposite_ones_do_not(make):
    layer = make("reformer", buckets=(4, 4), rounds=50)
    q = torch.randn(1, 2, 300, 4, dtype=torch.float64)
    same = [
        (layer._compute_hashes(q) == layer._compute_hashes(other)).double().mean()
        for other in (q + 0.01 * q.roll(1, 2), -q)
    ]
    assert same[0] > 0.9
    assert same[1] == 0


def test_reformer_rotates_anew_in_training_alone(make):
    layer, x = make("reformer"), input_of(9)
    first = layer.rotations.clone()
    layer(x)
    torch.testing.assert_close(layer.rotations, first, rtol=0, atol=0)
    layer.train()(x)
    assert not torch.equal(layer.rotations, first)


def test_reformer_has_about_as_many_hashes_as_chunks(make):
    for max_length, buckets in ((1, (2, 2)), (1024, (4, 4)), (4096, (8, 8)), (16384, (16, 16))):
        assert make("reformer", max_length=max_length, chunk=64, buckets=None).buckets == buckets


@BOTH
@pytest.mark.parametrize("time", [1, 3, 17])
def test_sinkhorn_with_one_block_is_full_attention(make, explicit, time, causal):
    layer, x = make("sinkhorn", causal=causal, max_length=17, block=17), input_of(time)
    torch.testing.assert_close(layer(x), explicit(layer, x, lambda i, j: not (causal and j > i)))


def test_sinkhorn_by_its_formula(make):
    layer, x = make("sinkhorn", max_length=12), input_of(12)
    q, k, v = (layer._split(part) for part in layer.project_in(x).chunk(3, -1))
    R = (layer.sort(k.reshape(2, 2, 3, 4, 4).sum(3)) / 0.75).exp()
    for _ in range(8):
        R = R / R.sum(-1, keepdim=True)
        R = R / R.sum(-2, keepdim=True)
    k2, v2 = (torch.einsum("bhnm,bhmcd->bhncd", R, part.reshape(2, 2, 3, 4, 4)) for part in (k, v))
    y = []
    for block in range(3):
        span = slice(4 * block, 4 * block + 4)
        keys, values = torch.cat([k[:, :, span], k2[:, :, block]], 2), torch.cat([v[:, :, span], v2[:, :, block]], 2)
        y.append((q[:, :, span] @ keys.transpose(-1, -2) / 2).softmax(-1) @ values)
    torch.testing.assert_close(layer(x), joined(layer, torch.cat(y, 2)))


def test_a_permutation_put_in_is_the_permutation_that_comes_out(make):
    order = torch.randperm(5)
    P = torch.eye(5, dtype=torch.float64)[order]
    everything = torch.ones(5, 5, dtype=torch.bool)
    torch.testing.assert_close(sinkhorn(60 * P, everything, iterations=3), P)


@pytest.mark.parametrize("size", [1, 3, 17])
def test_the_soft_permutation_is_doubly_stochastic(size):
    logits = torch.randn(4, size, size, dtype=torch.float64)
    R = sinkhorn(logits, torch.ones(4, size, size, dtype=torch.bool), iterations=100)
    ones = torch.ones(4, size, dtype=torch.float64)
    torch.testing.assert_close(R.sum(-1), ones)
    torch.testing.assert_close(R.sum(-2), ones)


def test_the_causal_soft_permutation_looks_back_alone():
    logits = torch.randn(5, 5, dtype=torch.float64)
    past = torch.ones(5, 5, dtype=torch.bool).tril(-1)
    R = sinkhorn(logits, past, iterations=4, causal=True)
    assert not R[~past].any()
    changed = logits.clone()
    changed[3:] += 1
    changed[3:, 0] -= 3
    torch.testing.assert_close(sinkhorn(changed, past, iterations=4, causal=True)[:3], R[:3])


@BOTH
@pytest.mark.parametrize("time", [1, 3, 17])
def test_random_synthesizer_by_its_formula(make, time, causal):
    layer, x = make("synthesizer", causal=causal, rank=3), input_of(time)
    R1, R2 = layer.random[0, :, :time], layer.random[1, :, :time]
    B = torch.einsum("hik,hjk->hij", R1, R2)
    B = B.masked_fill(torch.ones(time, time).triu(1).bool(), -torch.inf) if causal else B
    torch.testing.assert_close(layer(x), joined(layer, B.softmax(-1) @ layer._split(layer.project_in(x))))


@pytest.mark.parametrize("time", [1, 3, 17])
def test_dense_synthesizer_by_its_formula(make, time):
    layer, x = make("synthesizer", kind="dense"), input_of(time)
    hidden, v = (layer._split(part) for part in layer.project_in(x).chunk(2, -1))
    B = hidden.clamp(min=0) @ layer.lengths.weight.T + layer.lengths.bias
    torch.testing.assert_close(layer(x), joined(layer, B[..., :time].softmax(-1) @ v))
    other = x.clone()
    other[:, -1] = 0
    if time > 1:  # the weights of a position come from it alone
        torch.testing.assert_close(layer.lengths(F.relu(hidden))[:, :, 0], B[:, :, 0])


def test_dense_synthesizer_obeys_the_mask(make):
    layer, x = make("synthesizer", kind="dense", causal=True), input_of(9)
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    torch.testing.assert_close(layer(x, mask)[1, :4], layer(x[1:, :4])[0])
