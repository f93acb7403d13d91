import re

import pytest
import torch

from remanence import tasks


def read(string):
    """What a machine with one bit says at each place, None where nothing is asked."""
    bit, said = None, []
    for instruction, given in zip(string[::2], string[1::2], strict=True):
        if instruction == "w":
            bit = given
        said += [bit if instruction == "r" else None, None]
        assert instruction != "r" or given == bit
    return said


@pytest.mark.parametrize("ignored", [0.0, 0.8, 1.0])
def test_a_machine_with_one_bit_reads_without_error(ignored):
    task = tasks.create("flipflop_language", length=40, ignored=ignored, train=100)
    assert task.vocabulary is not None
    for tokens, target in task.dataset("train"):
        string = "".join(task.vocabulary[token] for token in tokens)
        assert re.fullmatch(r"w[01]([wri][01]){18}r[01]", string)
        assert [task.vocabulary[bit] if bit != -100 else None for bit in target.tolist()] == read(string)


@pytest.mark.parametrize(("split", "ignored"), [("train", 0.8), ("validation", 0.8), ("test", 0.98)])
def test_instructions_have_the_published_shares(split, ignored):
    tokens = tasks.create("flipflop_language").dataset(split).batch(range(1000)).inputs
    assert tokens.shape == (1000, 512)
    between = tokens[:, 2:-2:2]
    shares = [float((between == instruction).float().mean()) for instruction in range(3)]  # w, r, i
    free = (1 - ignored) / 2
    assert shares == [pytest.approx(free, abs=0.002), pytest.approx(free, abs=0.002), pytest.approx(ignored, abs=0.003)]
    drawn = tokens[:, 3::2][(between != 1).nonzero(as_tuple=True)]
    assert float((drawn == 4).float().mean()) == pytest.approx(0.5, abs=0.01)


def test_the_share_of_the_test_is_an_option():
    tokens = tasks.create("flipflop_language", test_ignored=0.1).dataset("test").batch(range(200)).inputs
    assert float((tokens[:, 2:-2:2] == 2).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_chance_and_the_error_of_reads_alone():
    task = tasks.create("flipflop_language", length=64)
    target = task.dataset("train").batch(range(2000)).targets
    assert float(task.measure(torch.rand(2000, 64, 5) + torch.tensor([0.0, 0, 0, 1, 1]), target)) == pytest.approx(
        task.chance, abs=0.02
    )
    right = torch.nn.functional.one_hot(target.clamp(min=0), 5).float() * 50
    elsewhere = torch.where((target == -100)[..., None], torch.randn_like(right), right)
    assert task.measure(elsewhere, target) == 0
    assert float(task.loss(elsewhere, target)) == pytest.approx(0, abs=1e-6)


def test_examples_show_the_first_samples():
    string, bits = tasks.create("flipflop_language", length=30).examples(1)[0].split(" -> ")
    assert "".join(bit for bit in read(string) if bit) == bits


@pytest.mark.parametrize("options", [{"length": 7}, {"length": 2}, {"ignored": -0.1}, {"test_ignored": 1.1}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("flipflop_language", **options)
