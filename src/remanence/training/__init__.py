"""Configuration, recipes, runs on disk, many runs side by side."""

from remanence.extras import needing

with needing("train", "remanence.training"):
    from remanence.runs.config import (
        LayerConfig,
        ModelConfig,
        RunConfig,
        TaskConfig,
        TrainingConfig,
        TransformerConfig,
    )
    from remanence.runs.result import Result
    from remanence.training.comparison import compare, plan, side_by_side
    from remanence.training.experiment import Experiment
    from remanence.training.recipe import Comparison, Recipe, read_recipe, recipe_from, run_from
    from remanence.training.run import train
    from remanence.training.search import Range, Search
    from remanence.training.sizes import sized
    from remanence.training.sweeps import Candidate, Sweep, Trial, run_count, sweep

__all__ = [
    "Candidate",
    "Comparison",
    "Experiment",
    "LayerConfig",
    "ModelConfig",
    "Range",
    "Recipe",
    "Result",
    "RunConfig",
    "Search",
    "Sweep",
    "TaskConfig",
    "TrainingConfig",
    "TransformerConfig",
    "Trial",
    "compare",
    "plan",
    "read_recipe",
    "recipe_from",
    "run_count",
    "run_from",
    "side_by_side",
    "sized",
    "sweep",
    "train",
]
