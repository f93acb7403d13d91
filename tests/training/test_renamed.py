"""The old names of fields are accepted, with a warning, wherever a configuration comes from."""

import json
import warnings

import pytest
import torch
import yaml
from pydantic import ValidationError

from remanence import report
from remanence.runs.config import TrainingConfig
from remanence.runs.renamed import RENAMED
from remanence.training import build_recipe, build_run_config, read_recipe, train

OLD = {"epoch_steps": 3, "decay": "cosine", "solved": 0.1, "keep": 2}
PRESENT = {"steps_per_epoch": 3, "lr_schedule": "cosine", "stop_at_metric": 0.1, "snapshot_every": 2}


def test_every_renamed_field_exists_under_its_present_name_only():
    fields = {f"training.{name}" for name in TrainingConfig.model_fields}
    assert {*RENAMED.values()} <= fields
    assert not {*RENAMED} & fields
    assert set(RENAMED) == {f"training.{name}" for name in OLD}


def test_in_python():
    with pytest.warns(FutureWarning, match=r"training\.epoch_steps is now called training\.steps_per_epoch"):
        assert TrainingConfig(**OLD) == TrainingConfig(**PRESENT)
    with warnings.catch_warnings(action="error"):
        TrainingConfig(**PRESENT)
    with (
        pytest.warns(FutureWarning),
        pytest.raises(ValidationError, match=r"training\.steps_per_epoch is given twice, once under its old name"),
    ):
        TrainingConfig(epoch_steps=3, steps_per_epoch=4)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("field", ["training.epoch_steps", "training.steps_per_epoch"])
def test_in_recipes_and_settings(tmp_path, field):
    data = {"title": "old", "comparisons": [{"task": "retrieval", "layers": ["lstm"], "training": OLD}]}
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.warns(FutureWarning):
        recipe = read_recipe(path, [f"{field}=7"])
    assert recipe.comparisons[0].training == TrainingConfig(**{**PRESENT, "steps_per_epoch": 7})
    run = {"task": "retrieval", "layer": {"name": "lstm"}, "training": OLD}
    with pytest.warns(FutureWarning):
        assert build_run_config(run, [f"{field}=7"]).training == recipe.comparisons[0].training


def test_in_a_search():
    search = {"fields": {"training.decay": ["none", "cosine"]}}
    comparison = {"task": "retrieval", "layers": ["lstm"]}
    with pytest.warns(FutureWarning):
        recipe = build_recipe({"title": "old", "comparisons": [comparison], "search": search})
    assert recipe.search is not None
    assert list(recipe.search.fields) == ["training.lr_schedule"]


def test_in_the_folder_of_a_run(tmp_path, make_config):
    config, folder = make_config(steps_per_epoch=2, snapshot_every=1), tmp_path / "run"
    result = train(config, folder)
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    names = {new.removeprefix("training."): old.removeprefix("training.") for old, new in RENAMED.items()}

    def as_before(training):
        return {names.get(name, name): value for name, value in training.items()}

    stored["training"] = as_before(stored["training"])
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    (own,) = (state for state in checkpoint["callbacks"].values() if "run" in state)
    identity = json.loads(own["run"])
    own["run"] = json.dumps({**identity, "training": as_before(identity["training"])})
    torch.save(checkpoint, folder / "checkpoints" / "last.ckpt")
    (folder / "result.json").unlink()
    with pytest.warns(FutureWarning):
        assert train(config, folder).test_metric == result.test_metric
    with pytest.warns(FutureWarning):
        (run,) = report.load([folder])
    assert run.config["training"]["steps_per_epoch"] == 2
