"""Configuration, recipes, runs on disk, many runs side by side."""

from remanence.training.compare import compare, plan
from remanence.training.config import (
    LayerConfig,
    ModelConfig,
    RunConfig,
    TaskConfig,
    TrainingConfig,
    TransformerConfig,
)
from remanence.training.experiment import Experiment
from remanence.training.recipe import Comparison, Recipe, read_recipe, recipe_from, run_from
from remanence.training.run import Result, train
from remanence.training.sizes import sized

__all__ = [
    "Comparison",
    "Experiment",
    "LayerConfig",
    "ModelConfig",
    "Recipe",
    "Result",
    "RunConfig",
    "TaskConfig",
    "TrainingConfig",
    "TransformerConfig",
    "compare",
    "plan",
    "read_recipe",
    "recipe_from",
    "run_from",
    "sized",
    "train",
]
