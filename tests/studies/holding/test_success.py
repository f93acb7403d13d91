import dataclasses
from pathlib import Path

import numpy as np

from remanence.report import Run
from studies.holding.success import group_successes


def run(seed, metric, solved=0.1, options=None, **model):
    config = {
        "task": {"name": "recall", "options": {"delay": 10}},
        "layer": {"name": "fastlane", "hidden_size": 5, "options": options or {}},
        "model": {"initial": {}, **model},
        "training": {"epochs": 3, "steps_per_epoch": 10, "stop_at_metric": solved, "frozen": []},
        "seed": seed,
    }
    steps = 10.0 * np.arange(1, len(metric) + 1)
    curve = {"step": steps, "seconds": steps, "validation_metric": np.array(metric)}
    return Run(Path(), config, curve, {"failure": None})


def test_success_is_the_first_validation_at_the_threshold():
    runs = [run(0, [0.5, 0.1]), run(1, [0.4, 0.2, 0.05]), run(2, [0.5, 0.5, 0.5]), run(3, [0.05])]
    (found,) = group_successes(runs)
    assert found.steps == (10, 20, 30)
    assert found.rate == 0.75
    assert found.median == 20
    assert found.budget == 30
    assert str(found) == "3/4 in 20 (10 to 30)"


def test_settings_are_kept_apart_and_seeds_together():
    runs = [run(0, [0.5]), run(1, [0.0]), run(0, [0.0], options={"density": 0.1, "order": "random"})]
    first, second = group_successes(runs)
    assert (first.label, str(first)) == ("fastlane", "1/2 in 10")
    assert (second.label, str(second)) == ("fastlane density 0.1 random", "1/1 in 10")
    frozen = group_successes([run(0, [0.5], initial={"memory.bias": 0.5})])
    assert frozen[0].settings["initial"] == {"memory.bias": 0.5}
    assert str(frozen[0]) == "0/1"
    assert np.isnan(frozen[0].median)


def test_unfinished_runs_do_not_count():
    unfinished = dataclasses.replace(run(1, [0.0]), result=None)
    (found,) = group_successes([run(0, [0.5]), unfinished])
    assert found.seeds == 1
