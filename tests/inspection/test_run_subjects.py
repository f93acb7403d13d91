import shutil

import pytest
import torch

from remanence import tasks
from remanence.errors import RunError
from remanence.inspection import subjects_of_run


@pytest.fixture
def copied(fastlane_run, tmp_path):
    """A copy of a run, to be spoilt."""
    return shutil.copytree(fastlane_run, tmp_path / "copy")


def test_the_memory_gets_what_it_got_in_the_task(fastlane_run):
    (subject,) = subjects_of_run(fastlane_run)
    weights = torch.load(fastlane_run / "checkpoints/best.ckpt", weights_only=True)
    tokens = tasks.Retrieval(pairs=1, train=32, validation=40, test=16).dataset("validation").inputs
    embedded = weights["encoder.0.weight"].double()[tokens]  # one embedding, no more
    torch.testing.assert_close(
        subject.x.flatten(0, 1), embedded.flatten(0, 1)[: subject.x.shape[0] * subject.x.shape[1]]
    )
    torch.testing.assert_close(subject.module.bias, weights["memory.bias"].double())


def test_every_block_of_a_transformer(transformer_run):
    found = subjects_of_run(transformer_run)
    assert [subject.name for subject in found] == ["blocks block 1, forwards", "blocks block 2, forwards"]
    assert all(subject.x.shape[2] == 6 for subject in found)
    assert not torch.equal(found[0].x, found[1].x)


def test_attention_has_no_memory(attention_run):
    with pytest.raises(ValueError, match="attention: there is no recurrent memory"):
        subjects_of_run(attention_run)


def test_a_run_without_weights(copied):
    (copied / "checkpoints/best.ckpt").unlink()
    with pytest.raises(RunError, match="no weights yet"):
        subjects_of_run(copied)


def test_a_run_that_is_under_way(copied):
    (copied / "result.json").unlink()
    assert "(unfinished)" in subjects_of_run(copied)[0].about


@pytest.mark.parametrize("content", ["cut", "other"])
def test_damaged_weights(copied, content):
    path = copied / "checkpoints/best.ckpt"
    if content == "cut":
        path.write_bytes(path.read_bytes()[:500])
    else:
        torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(RunError, match=r"best.ckpt (is missing or damaged|does not fit)"):
        subjects_of_run(copied)


def test_a_damaged_configuration(copied):
    (copied / "config.yaml").write_text("task: {name: retrieval}\n")
    with pytest.raises(ValueError, match=r"config.yaml: not the configuration of a run"):
        subjects_of_run(copied)
