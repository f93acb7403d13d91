"""Length generalisation: a trained model is tested at every length of its task."""

import json
from typing import Any

import pytest
import torch

from remanence.cli.app import main
from remanence.report import load, summarise
from remanence.runs import RunFolder
from remanence.runs.result import load_result, read_result
from remanence.tasks import AnyLength
from remanence.training import LayerConfig, ModelConfig, RunConfig, TaskConfig, TrainingConfig, TransformerConfig, train
from remanence.training.experiment import Experiment
from remanence.training.run import load_weights


def make_config(name="group", layer="gru", transformer=None, training=None, **options):
    return RunConfig(
        task=TaskConfig(name=name, options={"train": 6400, "validation": 200, "test": 50, **options}),
        layer=LayerConfig(name=layer, hidden_size=16),
        model=ModelConfig(embedding=(8,), readout=(), transformer=transformer),
        training=TrainingConfig(**{"batch_size": 64, "epochs": 1, "learning_rate": 0.02, **(training or {})}),
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("parity", {"length": 8}), ("cycle_nav", {"length": 6}), ("dyck", {"kinds": 2, "depth": 2, "length": 10})],
)
def test_the_metric_at_each_length_is_that_of_samples_of_that_length(tmp_path, name, options):
    config = make_config(name, **options, lengths=[7, 30], training={"steps_per_epoch": 2})
    result = train(config, tmp_path / "run")
    experiment = Experiment(config)
    load_weights(experiment, tmp_path / "run" / "checkpoints" / "best.ckpt")
    task = experiment.task
    assert isinstance(task, AnyLength)
    assert result.length_metrics is not None
    assert [*result.length_metrics] == [str(length) for length in sorted([7, 30, options["length"]])]
    assert result.train_length == options["length"]
    for length, metric in result.length_metrics.items():
        wrong = asked = 0
        for tokens, target in task.dataset_at(int(length)):
            said = experiment.model(tokens[None]).argmax(-1).flatten()
            target = target.flatten()
            wrong += int((said != target)[target != -100].sum())
            asked += int((target != -100).sum())
        assert metric == pytest.approx(wrong / asked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("parity", {"length": 8, "lengths": [6, 32, 128]}),
        ("group", {"group": "S3", "length": 8, "lengths": [6, 10]}),
        ("reset_recall", {"keys": 1, "values": 2, "length": 20, "boundary": 0.3}),
    ],
)
def test_a_recurrent_network_learns_the_easiest_of_them(tmp_path, name, options):
    result = train(make_config(name, **options, training={"epochs": 4, "stop_at_metric": 0.0}), tmp_path / "run")
    assert result.test_metric is not None
    assert result.test_metric < 0.1 * result.chance
    for metric in (result.length_metrics or {}).values():
        assert metric < 0.1 * result.chance


def test_a_task_of_one_length_has_no_curve(tmp_path):
    options: dict[str, Any] = {"pairs": 2, "length": 12, "vocabulary_size": 20, "train": 8, "validation": 8, "test": 8}
    config = make_config("mqar", training={"steps_per_epoch": 1}, **options)
    result = train(config, tmp_path / "run")
    assert (result.length_metrics, result.train_length) == (None, None)


def test_a_transformer_that_is_too_short_for_the_lengths_is_refused_before_training():
    blocks = TransformerConfig(layers=1, max_length=100, causal=True)
    with pytest.raises(ValueError, match=r"tested on up to 128 steps, the transformer takes 100.*max_length=128"):
        Experiment(make_config(layer="full", transformer=blocks, lengths=[64, 128]))
    Experiment(make_config(layer="full", transformer=blocks, lengths=[64, 100]))
    Experiment(make_config(layer="full", transformer=blocks, lengths=[]))


@pytest.mark.parametrize("samples", [None, 20])
def test_as_many_samples_are_evaluated_as_in_the_test(samples):
    experiment = Experiment(make_config(lengths=[64], training={"evaluation_samples": samples}))
    assert isinstance(experiment.task, AnyLength)
    counts = [
        sum(len(batch.targets) for batch in loader)
        for loader in (experiment.loader("test"), experiment.load_for_evaluation(experiment.task.dataset_at(64)))
    ]
    assert counts == [samples or 50] * 2


@pytest.mark.slow
def test_the_command_trains_tests_and_draws_the_curve(monkeypatch, capsys, tmp_path):
    settings = ["task.options.group=S3", "task.options.length=6", "task.options.lengths=[12, 20]"]
    settings += ["task.options.train=64", "task.options.validation=16", "task.options.test=16"]
    options = [word for setting in settings for word in ("--set", setting)]
    command = ["train", "group", "--layer", "gru", "--hidden-size", "6", "--epochs", "1", *options]

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["remanence", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    text = run(*command, "--output", tmp_path / "run")
    assert "Test error rate, %, by length" in text
    curve = json.loads((tmp_path / "run" / "result.json").read_text())["length_metrics"]
    assert [*curve] == ["6", "12", "20"]
    assert json.loads(run("report", tmp_path / "run", "--json"))[0]["lengths"] == {
        length: [metric] for length, metric in curve.items()
    }
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Error rate against length" in page
    assert len(list((tmp_path / "run").glob("*-lengths.png"))) == 1
    (row,) = summarise(load([tmp_path / "run"]))
    assert [score.mean for length in (6, 12, 20) if (score := row.score_at(length))] == [*curve.values()]
    assert vars(load_result(RunFolder(tmp_path / "run")))["length_metrics"] == curve


@pytest.mark.parametrize("curve", [[1], {"a": 1}, {"0": 1.0}, {"²": 1.0}, {"-5": 0.1}, {"5": "low"}, {"5": None}, "no"])
def test_a_damaged_curve_is_refused(tmp_path, curve):
    folder = write_result(tmp_path, length_metrics=curve)
    with pytest.raises(ValueError, match="length_metrics should have a number for each length"):
        read_result(folder)


def test_a_damaged_length_is_refused_and_older_results_have_none(tmp_path):
    with pytest.raises(ValueError, match="train_length should be a number"):
        read_result(write_result(tmp_path, train_length="long"))
    read_result(write_result(tmp_path))


def write_result(path, **fields):
    result = {"metric": "error rate", "chance": 0.5, "parameters": 5, "test_metric": 0.1, "seconds": 1.0, "steps": 3}
    folder = RunFolder(path)
    folder.result.write_text(json.dumps({**result, "stopped": "budget", "failure": None, **fields}))
    return folder


def test_sets_of_one_length_are_the_same_in_every_process():
    """So that the curves of runs on different machines can be compared: a digest of a set, computed once."""
    task = Experiment(make_config(group="A5", lengths=[64])).task
    assert isinstance(task, AnyLength)
    tokens = task.dataset_at(64).batch(range(50)).inputs
    assert (tokens[0, :6].tolist(), int((tokens * torch.arange(64)).sum())) == (
        [51, 14, 59, 9, 44, 18],
        2947092,
    )
