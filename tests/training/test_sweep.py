"""A search over settings, as often for each layer, then the best of each with all seeds."""

import json
import sys

import pytest
import yaml
from typer.testing import CliRunner

from remanence.cli.app import app
from remanence.training import build_recipe, count_runs, sweep
from remanence.training.search import Range, Search

RECIPE = {
    "title": "Tiny",
    "seeds": 2,
    "comparisons": [
        {
            "task": {"name": "retrieval", "options": {"pairs": 1, "train": 64, "validation": 32, "test": 32}},
            "layers": ["elman", "gru"],
            "hidden_sizes": [6],
            "model": {"embedding": [8], "readout": []},
            "training": {"batch_size": 16, "epochs": 2},
        }
    ],
}
RATES = [0.001, 0.03]


def recipe(search, **changes):
    comparison = {**RECIPE["comparisons"][0], **changes}
    return build_recipe({**RECIPE, "comparisons": [comparison], "search": search})


@pytest.fixture(scope="module")
def gridded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    grid = recipe({"fields": {"training.learning_rate": RATES, "model.readout": [[], [4]]}})
    return grid, folder, sweep(grid, folder)


def test_every_layer_gets_every_combination_and_the_best_by_validation(gridded):
    _, _, found = gridded
    assert [candidate.layer.name for candidate in found.candidates] == ["elman", "gru"]
    for candidate in found.candidates:
        tried = [(t.config.training.learning_rate, t.config.model.readout) for t in candidate.trials]
        assert tried == [(rate, readout) for rate in RATES for readout in ((), (4,))]
        assert {trial.config.seed for trial in candidate.trials} == {0}
        assert candidate.best.metric == min(trial.result.validation_metric for trial in candidate.trials)


def test_the_best_is_trained_with_the_other_seeds_too(gridded):
    _, folder, found = gridded
    for candidate in found.candidates:
        runs = {path: config for path, config in found.runs.items() if config.layer.name == candidate.layer.name}
        assert [config.seed for config in runs.values()] == [0, 1]
        assert all(config.model_copy(update={"seed": 0}) == candidate.best.config for config in runs.values())
        assert next(iter(runs)) == candidate.best.folder
        assert all((path / "result.json").exists() for path in runs)
        assert list(runs)[1].parent == folder


def test_given_again_it_trains_nothing(gridded, monkeypatch):
    grid, folder, found = gridded
    monkeypatch.setattr(
        sys.modules["remanence.training.comparison"], "train_in_worker", lambda *_: pytest.fail("trained again")
    )
    assert sweep(grid, folder).runs == found.runs


def test_another_search_in_the_same_folder_reads_what_both_have_in_common(tmp_path, monkeypatch):
    one, other = (
        recipe({"fields": {"training.learning_rate": rates}}, layers=["elman"]) for rates in (RATES, RATES[1:])
    )
    (first,) = sweep(one, tmp_path).candidates
    trained = set(tmp_path.rglob("result.json"))
    (second,) = sweep(other, tmp_path).candidates
    assert second.trials == first.trials[1:]
    new = set(tmp_path.rglob("result.json")) - trained
    assert len(new) == (0 if second.best == first.best else 1)  # the other seed of another best


def test_it_can_start_anew(tmp_path):
    tried = recipe({"fields": {"training.learning_rate": RATES[:1]}}, layers=["elman"])
    sweep(tried, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    sweep(tried, tmp_path, overwrite=True)
    assert all(path.stat().st_mtime_ns > written for path, written in files.items())


def test_drawn_settings_are_the_same_for_all_at_first_and_when_it_goes_on(tmp_path, monkeypatch):
    fields = {
        "training.learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
        "layer.hidden_size": {"low": 2, "high": 9},
    }
    drawn = recipe({"fields": fields, "trials": 3})
    first = sweep(drawn, tmp_path)
    elman, gru = ([trial.settings for trial in candidate.trials] for candidate in first.candidates)
    assert elman[0] == gru[0]
    assert len({str(settings) for settings in elman}) == 3
    assert all(1e-4 <= s["training.learning_rate"] <= 0.1 and s["layer.hidden_size"] in range(2, 10) for s in elman)
    monkeypatch.setattr(
        sys.modules["remanence.training.comparison"], "train_in_worker", lambda *_: pytest.fail("trained again")
    )
    again = sweep(drawn, tmp_path)
    assert [[trial.settings for trial in candidate.trials] for candidate in again.candidates] == [elman, gru]


def test_the_search_learns_from_what_it_is_told():
    sampler = Search(fields={"training.learning_rate": Range(low=0.0, high=1.0)}, trials=60).make_sampler()
    asked = []
    for _ in range(60):
        asked.append(sampler.ask()["training.learning_rate"])
        sampler.tell((asked[-1] - 0.3) ** 2 if asked[-1] < 0.8 else None)
    assert sum(abs(value - 0.3) < 0.1 for value in asked[40:]) > 8  # 4 by chance
    assert max(asked[40:]) < 0.8


@pytest.mark.parametrize("few", [1, 2, 4, 12])
def test_more_trials_go_on_from_fewer(few):
    def asked(trials):
        fields = {"training.learning_rate": Range(low=1e-4, high=1.0, log=True), "training.clip": [0, 1, 5]}
        sampler = Search(fields=fields, trials=trials).make_sampler()
        for _ in range(trials):
            settings = sampler.ask()
            sampler.tell(settings["training.learning_rate"])
            yield settings

    assert list(asked(24))[:few] == list(asked(few))


def test_what_was_tried_before_is_not_trained_again(tmp_path):
    found = sweep(recipe({"fields": {"training.learning_rate": [0.01]}, "trials": 3}), tmp_path)
    assert all(len({trial.folder for trial in candidate.trials}) == 1 for candidate in found.candidates)
    assert len(list((tmp_path / "search").glob("*/result.json"))) == 2


def test_a_trial_that_diverges_is_not_the_best(tmp_path):
    changes = {"layers": ["irnn"], "training": {"batch_size": 16, "epochs": 2, "clip": 0}}
    found = sweep(recipe({"fields": {"training.learning_rate": [1e30, 0.001]}}, **changes), tmp_path)
    (candidate,) = found.candidates
    assert [trial.metric is None for trial in candidate.trials] == [True, False]
    assert candidate.best is candidate.trials[1]


def test_layers_stay_as_large_as_their_parameters_allow():
    (changed,) = build_recipe(
        {
            "title": "Equal",
            "comparisons": [
                {key: value for key, value in RECIPE["comparisons"][0].items() if key != "hidden_sizes"}
                | {"parameters": 900, "layers": ["gru"]}
            ],
        }
    ).comparisons
    (layer,) = changed.iter_layers()
    plain, larger_ends = changed.config(layer), changed.config(layer, {"model.readout": [9]})
    assert larger_ends.model.readout == (9,)
    assert larger_ends.layer.hidden_size < plain.layer.hidden_size


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"fields": {}}, "search.fields"),
        ({"fields": {"training.learning_rate": []}}, "search.fields"),
        ({"fields": {"training.learning_rate": {"low": 1, "high": 1}}, "trials": 3}, "from low to a larger high"),
        ({"fields": {"training.learning_rate": {"low": 0, "high": 1, "log": True}}, "trials": 3}, "both above 0"),
        ({"fields": {"training.learning_rate": {"low": 0.1, "high": 1}}}, "give trials, or the values of"),
        ({"fields": {"seeds": [1, 2]}}, "fields of training, layer or model, not 'seeds'"),
    ],
)
def test_wrong_searches_are_refused(search, message):
    with pytest.raises(ValueError, match=message):
        recipe(search)


def test_a_field_that_does_not_exist_is_named_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match=r"the search: training\.rate: extra inputs"):
        sweep(recipe({"fields": {"training.rate": [1]}}), tmp_path)
    with pytest.raises(ValueError, match=r"the search: training\.learning_rate: .*got -1"):
        sweep(recipe({"fields": {"training.learning_rate": [0.1, -1]}}), tmp_path)
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match="the recipe has no search"):
        sweep(recipe(None), tmp_path)


@pytest.mark.slow
def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search = {"fields": {"training.learning_rate": RATES}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**RECIPE, "search": search}))
    shown = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--jobs", "1", "--set", "layers=[gru]", "--json"])
    assert shown.exit_code == 0
    data = json.loads(shown.stdout)
    assert [trial["settings"]["training.learning_rate"] for trial in data["trials"]] == RATES
    assert [trial["best"] for trial in data["trials"]].count(True) == 1
    assert data["results"][0]["layer"]["name"] == "gru"
    assert (tmp_path / "runs/tiny/report.html").exists()
    assert (tmp_path / "runs/tiny/search/report.html").exists()
    table = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--set", "layers=[gru]"]).stdout
    assert "gru on retrieval: error rate on validation data" in table
    refused = CliRunner().invoke(app, ["compare", "tiny.yaml"]).exception
    assert "remanence sweep tiny.yaml" in str(refused)


def test_the_count_of_runs(gridded):
    grid, _, found = gridded
    folders = {trial.folder for candidate in found.candidates for trial in candidate.trials} | set(found.runs)
    assert count_runs(grid) == len(folders) == 10
