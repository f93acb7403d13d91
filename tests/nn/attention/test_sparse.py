"""Local, strided, Longformer and BigBird attention, against full attention with their pattern as a mask."""

import pytest
import torch

LENGTHS = [1, 3, 17, 33]
BOTH = pytest.mark.parametrize("causal", [False, True])


def input_of(time):
    return torch.randn(2, time, 8, dtype=torch.float64)


def check(layer, x, explicit, pattern):
    torch.testing.assert_close(
        layer(x), explicit(layer, x, lambda i, j: pattern(i, j) and not (layer.causal and j > i))
    )


@BOTH
@pytest.mark.parametrize("time", LENGTHS)
def test_full_attention_is_softmax_of_all_pairs(make, explicit, time, causal):
    check(make("full", causal=causal), input_of(time), explicit, lambda i, j: True)


@BOTH
@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize("radius", [1, 4, 40])
def test_local(make, explicit, time, causal, radius):
    check(make("local", causal=causal, radius=radius), input_of(time), explicit, lambda i, j: abs(i - j) <= radius)


@BOTH
@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize("stride", [1, 4, 40])
def test_strided(make, explicit, time, causal, stride):
    layer = make("strided", causal=causal, stride=stride)
    check(layer, input_of(time), explicit, lambda i, j: abs(i - j) <= stride or (i - j) % stride == 0)


@pytest.mark.parametrize(("max_length", "stride"), [(1, 1), (16, 4), (17, 5), (1024, 32)])
def test_the_stride_is_the_root_of_the_length(make, max_length, stride):
    assert make("strided", max_length=max_length, stride=None).stride == stride


@BOTH
@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize(("radius", "tokens"), [(1, 1), (4, 3), (40, 2), (2, 40)])
def test_longformer(make, explicit, time, causal, radius, tokens):
    layer = make("longformer", causal=causal, radius=radius, global_tokens=tokens)
    check(layer, input_of(time), explicit, lambda i, j: abs(i - j) <= radius or i < tokens or j < tokens)


@BOTH
@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize(("blocks", "drawn"), [(1, 2), (2, 1), (1, 100)])
def test_bigbird(make, explicit, time, causal, blocks, drawn):
    layer = make("bigbird", causal=causal, global_blocks=blocks, random_blocks=drawn)

    def pattern(i, j):
        i, j = i // 4, j // 4
        return abs(i - j) <= 1 or i < blocks or j < blocks or j in layer.drawn[i].tolist()

    check(layer, input_of(time), explicit, pattern)
    if drawn == 100:
        check(layer, input_of(time), explicit, lambda i, j: True)


@BOTH
def test_random_blocks_are_distinct_and_none_of_the_others(make, causal):
    drawn = make("bigbird", causal=causal, max_length=79, random_blocks=3).drawn.tolist()
    assert len(drawn) == 20
    for block, others in enumerate(drawn):
        chosen = [other for other in others if other >= 0]
        free = [other for other in range(1, 20) if (other < block - 1 if causal else abs(other - block) > 1)]
        assert len(set(chosen)) == len(chosen) == min(3, len(free))
        assert set(chosen) <= set(free)
