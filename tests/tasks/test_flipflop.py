import pytest
import torch

from remanence import tasks


@pytest.mark.parametrize(("bits", "pulse"), [(1, 0.5), (3, 0.1), (4, 1.0)])
def test_targets_follow_the_pulses(bits, pulse):
    samples = tasks.create("flipflop", bits=bits, pulse=pulse, train=60).dataset("train")
    for signal, target in samples:
        assert signal.shape == target.shape == (64, bits)
        held = [0.0] * bits
        for pulses, states in zip(signal.tolist(), target.tolist(), strict=True):
            held = [new if new != 0 else old for new, old in zip(pulses, held, strict=True)]
            assert states == held


@pytest.mark.parametrize("pulse", [0.02, 0.1, 0.5])
def test_pulses_come_as_often_as_said_and_with_both_signs(pulse):
    signal = tasks.create("flipflop", pulse=pulse).dataset("train").batch(range(2000)).inputs
    assert float((signal == 1).float().mean()) == pytest.approx(pulse / 2, rel=0.05)
    assert float((signal == -1).float().mean()) == pytest.approx(pulse / 2, rel=0.05)
    assert float((signal[:, 1:] * signal[:, :-1]).mean()) == pytest.approx(0, abs=0.003)
    assert float((signal[..., 0] * signal[..., 1]).mean()) == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize(("length", "pulse"), [(64, 0.1), (5, 0.3), (1, 0.25), (20, 1.0)])
def test_chance_is_what_saying_nothing_gets(length, pulse):
    task = tasks.create("flipflop", length=length, pulse=pulse)
    targets = task.dataset("test").batch(range(2000)).targets
    assert float(task.measure(torch.zeros_like(targets), targets)) == pytest.approx(task.chance, rel=0.05)
    assert task.chance == pytest.approx(sum(1 - (1 - pulse) ** t for t in range(1, length + 1)) / length)


def test_examples_show_the_first_samples():
    task = tasks.create("flipflop", length=8, pulse=0.4)
    lines = task.examples(1)[0].splitlines()
    assert len(lines) == 3
    signs = {"-": -1.0, "·": 0.0, "+": 1.0}
    for line, pulses, states in zip(lines, *(part.T.tolist() for part in task.dataset("train")[0]), strict=True):
        assert [[signs[sign] for sign in part] for part in line.split(" -> ")] == [pulses, states]


@pytest.mark.parametrize("options", [{"bits": 0}, {"length": 0}, {"pulse": 1.5}, {"pulse": 0.0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("flipflop", **options)
