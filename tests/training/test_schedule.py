import itertools
import math

import pytest
import torch
import yaml

from remanence.training import Experiment, train
from remanence.training.schedule import lr_factor

TOTAL = 100


def rates(**settings):
    return [lr_factor(step, total=TOTAL, **settings) for step in range(TOTAL)]


def test_without_warmup_and_decay_nothing_changes():
    assert rates(warmup=0, lr_schedule="none") == [1.0] * TOTAL


def test_the_arena_divides_by_the_root_of_the_step():
    # Its code: base * min(1, n / warmup) / sqrt(max(n, warmup)), so that the largest is base / sqrt(warmup).
    base, warmup = 0.05, 20
    published = [base * min(1, n / warmup) / math.sqrt(max(n, warmup)) for n in range(1, TOTAL + 1)]
    ours = [base / math.sqrt(warmup) * rate for rate in rates(warmup=warmup, lr_schedule="rsqrt")]
    assert ours == pytest.approx(published)


def test_the_cosine_is_torch_s():
    parameter = torch.nn.Parameter(torch.zeros(()))
    adam = torch.optim.Adam([parameter], lr=1.0)
    torch_s = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=TOTAL)
    expected = []
    for _ in range(TOTAL):
        adam.step()
        torch_s.step()
        expected.append(torch_s.get_last_lr()[0])
    assert rates(warmup=0, lr_schedule="cosine") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("lr_schedule", ["none", "rsqrt", "cosine"])
def test_it_rises_to_the_whole_rate_at_the_end_of_the_warmup_and_never_again(lr_schedule):
    found = rates(warmup=10, lr_schedule=lr_schedule)
    assert found[9] == 1.0
    assert found[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert all(later <= earlier for earlier, later in itertools.pairwise(found[9:]))


@pytest.mark.parametrize("warmup", [TOTAL, 10 * TOTAL])
def test_a_budget_that_ends_within_the_warmup(warmup):
    assert rates(warmup=warmup, lr_schedule="cosine") == pytest.approx([n / warmup for n in range(1, TOTAL + 1)])


def test_the_optimiser_follows_it(tmp_path, make_config, monkeypatch):
    seen = []
    step = Experiment.training_step

    def watched(self, batch, index):
        seen.append(self.optimizers().param_groups[0]["lr"])
        return step(self, batch, index)

    monkeypatch.setattr(Experiment, "training_step", watched)
    settings = {"warmup": 3, "lr_schedule": "cosine"}
    train(make_config(learning_rate=0.01, **settings), tmp_path / "run")
    assert seen == pytest.approx([0.01 * lr_factor(n, total=8, **settings) for n in range(8)])


def test_an_interrupted_run_goes_on_at_the_rate_where_it_was(tmp_path, make_config, monkeypatch):
    config = make_config(epochs=4, warmup=3, lr_schedule="cosine", betas=(0.9, 0.98))
    train(config, tmp_path / "whole")
    step = Experiment.training_step

    def interrupted(self, batch, index):
        if self.global_step == 10:
            raise OSError("no more")
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "training_step", interrupted)
        with pytest.raises(OSError, match="no more"):
            train(config, tmp_path / "cut")
    train(config, tmp_path / "cut")
    cut, whole = (torch.load(tmp_path / name / "checkpoints/best.ckpt") for name in ("cut", "whole"))
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


def test_a_decay_that_starts_nowhere_is_refused(make_config):
    with pytest.raises(ValueError, match=r"set training\.warmup"):
        make_config(lr_schedule="rsqrt")


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("layer", ["cff", "fast_weights", "gru"])
def test_precisions_give_the_same_run_but_for_rounding(tmp_path, make_config, layer, precision):
    plain = train(make_config(layer=layer, learning_rate=0.01), tmp_path / "plain")
    other = train(make_config(layer=layer, learning_rate=0.01, precision=precision), tmp_path / "other")
    assert other.test_loss == pytest.approx(plain.test_loss, rel=0.05)
    assert other.test_loss != plain.test_loss
    assert yaml.safe_load((tmp_path / "other/config.yaml").read_text())["training"]["precision"] == precision
