import numpy as np
import pytest
import torch

from remanence import tasks
from remanence.training import LayerConfig, ModelConfig, RunConfig, TaskConfig, TransformerConfig
from remanence.training.experiment import Experiment


@pytest.mark.parametrize(("keys", "values", "length", "boundary"), [(8, 8, 128, 0.05), (2, 3, 20, 0.3), (1, 2, 2, 1.0)])
def test_a_dictionary_that_is_emptied_answers(keys, values, length, boundary):
    task = tasks.create("reset_recall", keys=keys, values=values, length=length, boundary=boundary)
    assert task.episodic
    names = task.vocabulary
    assert names is not None
    assert len(names) == keys + values + 4
    batch = task.dataset("train").batch(range(100))
    assert batch.reset is not None
    for tokens, targets, reset in zip(batch.inputs, batch.targets.tolist(), batch.reset.tolist(), strict=True):
        held, words = {}, [names[token] for token in tokens]
        for step in range(0, length, 2):
            first, second = words[step : step + 2]
            assert reset[step : step + 2] == [first == "|", False]
            assert targets[step] == -100
            answer = None if targets[step + 1] == -100 else names[targets[step + 1]]
            if first == "|":
                assert (second, answer) == ("·", None)
                held = {}
            elif second == "?":
                assert answer == held.get(first, "-")
            else:
                assert answer is None
                assert (first[0], second[0]) == ("k", "v")
                held[first] = second
        assert words[-1] == "?"


def test_instructions_come_as_often_as_they_should():
    task = tasks.create("reset_recall", length=200, boundary=0.2)
    batch = task.dataset("train").batch(range(500))
    assert batch.reset is not None
    assert float(batch.reset[:, :-2:2].float().mean()) == pytest.approx(0.2, abs=0.01)
    asked = (batch.targets[:, 1:-2:2] != -100).float().mean()
    assert float(asked) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(("keys", "values", "boundary"), [(2, 2, 0.05), (8, 8, 0.05), (3, 2, 0.5)])
def test_chance_is_the_best_guess_at_each_step(keys, values, boundary):
    task = tasks.create("reset_recall", keys=keys, values=values, length=20, boundary=boundary)
    targets = task.dataset("train").batch(range(10_000)).targets
    shares = torch.stack([(targets == answer).float().mean(0) for answer in range(values + 1)], dim=1)
    assert float(task.measure(shares.expand(10_000, -1, -1), targets)) == pytest.approx(task.chance, abs=0.01)


def test_boundaries_as_tokens_alone():
    told, read = (tasks.create("reset_recall", boundaries=each) for each in ("reset", "token"))
    assert not read.episodic
    assert read.dataset("train").batch(range(3)).reset is None
    for one, other in zip(told.dataset("train")[5], read.dataset("train")[5], strict=True):
        assert torch.equal(one, other)


def make_config(layer, options=None, transformer=None):
    return RunConfig(
        task=TaskConfig(name="reset_recall", options={"length": 40, "train": 9, **(options or {})}),
        layer=LayerConfig(name=layer, hidden_size=6),
        model=ModelConfig(embedding=(6,), readout=(), transformer=transformer),
    )


@pytest.mark.parametrize("transformer", [None, TransformerConfig(layers=2, causal=True, positions="none")])
def test_nothing_before_a_boundary_reaches_what_is_behind_it(transformer):
    experiment = Experiment(make_config("gru", transformer=transformer))
    samples = experiment.task.dataset("train")
    resets = samples.batch(range(9)).reset
    assert resets is not None
    row, start = ((resets & (torch.arange(40) > 1)).nonzero()[0]).tolist()  # behind the first instruction
    batch = samples.batch([row])
    assert batch.reset is not None
    changed = batch._replace(inputs=torch.cat([batch.inputs[:, :start] * 0, batch.inputs[:, start:]], 1))
    one, other = experiment.output(batch), experiment.output(changed)
    assert torch.equal(one[:, start:], other[:, start:])
    assert not torch.allclose(one[:, :start], other[:, :start])
    alone = batch._replace(inputs=batch.inputs[:, start:], reset=batch.reset[:, start:])
    assert torch.allclose(experiment.output(alone), one[:, start:], atol=1e-6)


def test_attention_is_refused_unless_it_reads_the_boundaries():
    blocks = TransformerConfig(layers=1, causal=True)
    with pytest.raises(ValueError, match=r"full is attention.*--set task\.options\.boundaries=token"):
        Experiment(make_config("full", transformer=blocks))
    experiment = Experiment(make_config("full", {"boundaries": "token"}, blocks))
    assert np.isfinite(experiment.output(experiment.task.dataset("train").batch([0])).detach().numpy()).all()


@pytest.mark.unchecked
@pytest.mark.parametrize(
    "options", [{"keys": 0}, {"values": 1}, {"length": 7}, {"boundary": 1.5}, {"boundaries": "none"}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tasks.create("reset_recall", **options)
