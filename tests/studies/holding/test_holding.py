import re

import pytest
from typer.testing import CliRunner

from remanence import report, training
from remanence.cli.app import app
from remanence.errors import RunError
from studies import holding

RECIPE = """\
title: {part}
seeds: 2
comparisons:
  - task: {{name: recall, options: {{delay: 6, symbols: 2, train: 64, validation: 32, test: 32}}}}
    layers: [persistent, {{name: fastlane, options: {{density: 0.5}}}}]
    parameters: 120
    model: {{embedding: [], readout: []}}
    training: {{batch_size: 16, epochs: 3, steps_per_epoch: 4, learning_rate: 0.02, {more}}}
"""


@pytest.fixture
def small_recipes(tmp_path, monkeypatch):
    folder = tmp_path / "recipes/holding"
    folder.mkdir(parents=True)
    for part in holding.PARTS:
        more = "snapshot_every: 1" if part == "holding" else "stop_at_metric: 0.3"
        (folder / f"{part}.yaml").write_text(RECIPE.format(part=part, more=more))
    monkeypatch.setattr(holding, "RECIPES", folder)


def test_the_page_answers_from_the_runs(tmp_path, small_recipes):
    plans = holding.plan(tmp_path / "study", ["seeds=1"])
    runs = {folder: config for part in plans.values() for folder, config in part.items()}
    assert len(runs) == 2 * len(holding.PARTS)
    results = {folder: training.train(config, folder) for folder, config in runs.items()}
    looked = []
    page = holding.answer(plans, tmp_path / "study", lambda done, total: looked.append((done, total)))
    text = page.read_text()
    assert looked == [(1, 2), (2, 2)]
    assert len(re.findall("^## ", text, re.MULTILINE)) == 4
    for name in re.findall(r"\]\((\S+\.png)\)", text):
        assert (page.parent / name).read_bytes().startswith(b"\x89PNG")
    (rows,) = re.findall(r"\| layer \| delay 6 \|\n.*\n((?:\|.*\n)+)", text)
    by_layer = {row.split(" | ")[0].strip("| "): row for row in rows.splitlines()}
    for folder, result in results.items():
        if folder.parent.name == "delay":
            name = "persistent" if result.layer == "persistent" else "fastlane density 0.5"
            assert ("1/1" in by_layer[name]) == (result.stopped == "solved")


@pytest.mark.slow
def test_the_recipes_of_the_repository_compare_as_many_parameters(tmp_path):
    runs = holding.plan(tmp_path, ["seeds=1"])["delay"].values()
    assert len(runs) == 24
    for config in runs:
        if config.task.options["delay"] == 10:
            parameters = sum(p.numel() for p in training.Experiment(config).model.parameters())
            assert 900 <= parameters <= 1000


def test_damaged_weights_are_named(tmp_path, small_recipes):
    folder, config = next(iter(holding.plan(tmp_path / "study", ["seeds=1"])["holding"].items()))
    training.train(config, folder)
    damaged = folder / "checkpoints" / "epoch-2.ckpt"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(RunError, match=r"epoch-2\.ckpt is missing or damaged"):
        holding.measure_histories(report.load([folder]), lambda done, total: None)


def test_a_study_that_does_not_exist_is_named():
    result = CliRunner().invoke(app, ["study", "hodling"])
    assert isinstance(result.exception, ValueError)
    assert "unknown study 'hodling'; known: holding" in str(result.exception)


def test_missing_recipes_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "RECIPES", tmp_path / "recipes/holding")
    with pytest.raises(ValueError, match=r"cannot read the recipe .*recipes/holding/holding\.yaml"):
        holding.plan(tmp_path)
