"""Configuration, recipes, runs on disk, many runs in parallel."""

from remanence.extras import require_extra

with require_extra("train", "remanence.training"):
    from remanence.runs.config import (
        LayerConfig,
        ModelConfig,
        RunConfig,
        TaskConfig,
        TrainingConfig,
        TransformerConfig,
    )
    from remanence.runs.result import Result
    from remanence.training.comparison import compare, count_jobs, plan
    from remanence.training.experiment import Experiment
    from remanence.training.recipe import Comparison, Recipe, build_recipe, build_run_config, read_recipe
    from remanence.training.run import train
    from remanence.training.search import Range, Search
    from remanence.training.sizes import fit_hidden_size
    from remanence.training.sweeps import Candidate, Sweep, Trial, count_runs, sweep

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
    "build_recipe",
    "build_run_config",
    "compare",
    "count_jobs",
    "count_runs",
    "fit_hidden_size",
    "plan",
    "read_recipe",
    "sweep",
    "train",
]
