"""The recipes of the Long Range Arena are what its authors published."""

from pathlib import Path

import pytest
import torch

from remanence import tasks
from remanence.models import Transformer
from remanence.models.block import Block
from remanence.nn.attention import Attention
from remanence.training import read_recipe
from remanence.training.experiment import build_model

RECIPES = Path(__file__).parents[2] / "recipes" / "arena"
STEPS = {"listops": 5000, "text": 20_000, "aan": 5000, "image": 35_000, "pathfinder": 62_400, "pathx": 500_000}
"""num_train_steps of each task's configuration."""
BASE_RATES = {"listops": 0.05, "text": 0.05, "aan": 0.05, "image": 0.0005, "pathfinder": 0.001, "pathx": 0.001}


def shapes(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", STEPS)
def test_the_recipe_is_the_published_configuration(name):
    full, flip_flops = read_recipe(RECIPES / f"{name}.yaml").runs()
    training = full.training
    assert (full.task.name, full.layer.name, flip_flops.layer.name) == (name, "full", "cff")
    assert training.steps_per_epoch is not None
    assert training.epochs * training.steps_per_epoch == STEPS[name]
    peak = BASE_RATES[name] / (training.warmup**0.5 if training.lr_schedule == "rsqrt" else 1)
    assert training.learning_rate == pytest.approx(peak, rel=2e-3)
    task = tasks.create(name, **full.task.options)
    assert task.vocabulary is not None
    published = Transformer.lra(name, task.target_size, vocabulary_size=len(task.vocabulary))
    assert shapes(build_model(full, task)) == shapes(published)
    block = published.blocks[0]
    assert isinstance(block, Block)
    assert isinstance(block.mixer, Attention)
    assert isinstance(published.dropout, torch.nn.Dropout)
    assert full.model.transformer is not None
    assert (full.model.transformer.heads, full.model.transformer.dropout) == (block.mixer.heads, published.dropout.p)


@pytest.mark.parametrize("name", STEPS)
def test_flip_flops_take_at_most_a_tenth_more_parameters(name):
    runs = read_recipe(RECIPES / f"{name}.yaml").runs()
    full, flip_flops = (
        sum(p.numel() for p in build_model(run, tasks.create(name, **run.task.options)).parameters()) for run in runs
    )
    assert flip_flops <= 1.1 * full
