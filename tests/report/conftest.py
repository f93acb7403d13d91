import json

import pytest
import yaml

TRAINING = {"batch_size": 128, "epochs": 20, "learning_rate": 0.001, "patience": None}
VERSIONS = {"remanence": "0.1.0", "torch": "2.13.0", "python": "3.11.9"}


def write_run(
    folder,
    task="retrieval",
    layer="lstm",
    hidden_size=50,
    seed=0,
    curve=((100, 1.0, 0.9), (200, 2.0, 0.5)),
    test=0.5,
    parameters=1000,
    seconds=2.0,
    metric="error rate",
    chance=0.9,
    stopped="budget",
    failure=None,
    finished=True,
    lengths=None,
    **sections,
):
    """A run folder; ``curve`` is (step, seconds, validation metric) for each epoch."""
    folder.mkdir(parents=True)
    config = {
        "task": {"name": task, "options": sections.get("task_options", {})},
        "layer": {"name": layer, "hidden_size": hidden_size, "options": sections.get("layer_options", {})},
        "model": {"embedding": [50, 100], "readout": [100]},
        "training": TRAINING | sections.get("training", {}),
        "seed": seed,
        "versions": VERSIONS,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    lines = ["epoch,step,seconds,train_loss,validation_loss,validation_metric"]
    lines += [f"{epoch},{s},{t},2.0,2.1,{v}" for epoch, (s, t, v) in enumerate(curve, start=1)]
    if curve:
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    if finished:
        result = {
            "task": task,
            "layer": layer,
            "hidden_size": hidden_size,
            "seed": seed,
            "parameters": parameters,
            "metric": metric,
            "chance": chance,
            "test_metric": None if failure else test,
            "test_loss": None if failure else 2.0,
            "validation_metric": min((v for *_, v in curve), default=None),
            "epochs": len(curve),
            "steps": curve[-1][0] if curve else 0,
            "seconds": seconds,
            "stopped": None if failure else stopped,
            "failure": failure,
        }
        if lengths is not None:
            result |= {"length_metrics": lengths, "train_length": int(next(iter(lengths)))}
        (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture
def make_run(tmp_path):
    """Write a run below ``tmp_path / "runs"``."""
    return lambda name, **fields: write_run(tmp_path / "runs" / name, **fields)


@pytest.fixture(scope="session")
def mixed_runs(tmp_path_factory):
    """Two tasks, two memories, a failed run and one under way."""
    folder = tmp_path_factory.mktemp("mixed")
    return [
        write_run(folder / "a", layer="lstm", seed=0, test=0.1),
        write_run(folder / "b", layer="lstm", seed=1, test=0.2),
        write_run(folder / "c", layer="gru", seed=0, failure="the loss is nan at step 7"),
        write_run(folder / "d", layer="gru", seed=1, finished=False),
        write_run(folder / "e", task="digits", task_options={"rows": 8}, test=0.5),
    ]
