"""The same search for every layer, then the best settings of each with all seeds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from remanence.errors import UserError
from remanence.runs.config import LayerConfig, RunConfig
from remanence.runs.result import Result
from remanence.training.comparison import Message, complete_runs, compute_digest, format_folder_name, start_workers
from remanence.training.recipe import Comparison, Recipe
from remanence.training.search import Sampler, Search, Settings


@dataclass(frozen=True)
class Trial:
    """One setting of one layer, tried with the first seed.

    Attributes:
        folder: the folder of the run.
        config: the configuration of the run.
        settings: what the search set in it.
        result: its outcome.
    """

    folder: Path
    config: RunConfig
    settings: Settings
    result: Result

    @property
    def metric(self) -> float | None:
        """By which trials are judged: the best on validation data; None if the run failed."""
        return None if self.result.failure is not None else self.result.validation_metric


@dataclass
class Candidate:
    """A layer on a task, with the trials of its search.

    Attributes:
        comparison: the comparison that it belongs to.
        layer: the configuration of the layer.
        sampler: the proposer of settings.
        trials: the trials so far.
    """

    comparison: Comparison
    layer: LayerConfig
    sampler: Sampler
    trials: list[Trial] = field(default_factory=list)

    @property
    def best(self) -> Trial:
        """The trial with the lowest metric; the first one if several are equal or all failed."""
        return min(self.trials, key=lambda trial: float("inf") if trial.metric is None else trial.metric)


@dataclass(frozen=True)
class Sweep:
    """What a search found.

    Attributes:
        candidates: each layer with its trials.
        runs: the runs with the best settings and all seeds, by folder; that of the first seed is the trial itself.
    """

    candidates: list[Candidate]
    runs: dict[Path, RunConfig]


def sweep(
    recipe: Recipe,
    folder: Path,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    tell: Callable[[Message], None] = lambda message: None,
) -> Sweep:
    """Search settings for every layer on validation data, and train the best of each with all seeds.

    Trials use the first seed, and the best trial counts as the run of that seed. A repeated call resumes: finished
    trials are read, and the search proposes the same settings. Another search may use the same folder, and reads the
    trials that both have in common.

    Args:
        recipe: with a search.
        folder: gets the trials in ``search/``, and the runs of the other seeds; a digest of its configuration is part
            of the name of each.
        jobs: processes.
        overwrite: restart all runs.
        tell: called in this process with the progress of each run.

    Returns:
        The trials, and the runs with the best settings.

    Raises:
        ValueError: the recipe has no search, or it sets what does not exist; nothing was trained.
        OSError, RunError: as :func:`remanence.training.compare`.
    """
    search = require_search(recipe)
    candidates = [
        Candidate(comparison, layer, search.make_sampler())
        for comparison in recipe.comparisons
        for layer in comparison.iter_layers()
    ]
    for candidate in candidates:
        for settings in search.iter_single():
            candidate.comparison.apply_settings(candidate.layer, settings)
    known: dict[Path, Result] = {}
    with start_workers(jobs, tell) as train_all:
        complete = partial(complete_runs, train_all=train_all, overwrite=overwrite)
        for _ in range(search.count()):
            _run_trials(candidates, folder / "search", known, complete)
        others = [
            candidate.best.config.model_copy(update={"seed": seed})
            for seed in range(1, max(map(recipe.count_seeds, recipe.comparisons)))
            for candidate in candidates
            if seed < recipe.count_seeds(candidate.comparison)
        ]
        runs = {choose_folder(config, folder): config for config in others}
        complete(runs)
    return Sweep(candidates, {candidate.best.folder: candidate.best.config for candidate in candidates} | runs)


def require_search(recipe: Recipe) -> Search:
    """Return the search of a recipe.

    Raises:
        ValueError: it has none.
    """
    if recipe.search is None:
        raise UserError("the recipe has no search: add one, or use remanence compare")
    return recipe.search


def count_runs(recipe: Recipe) -> int:
    """Return the maximum number of runs of a sweep.

    Args:
        recipe: a recipe with a search.

    Returns:
        The number of runs.

    Raises:
        ValueError: the recipe has no search.

    Example:
        >>> from remanence.training import build_recipe
        >>> comparison = {"task": "retrieval", "layers": ["gru"]}
        >>> search = {"fields": {"training.learning_rate": [0.001, 0.01]}}
        >>> count_runs(build_recipe({"title": "A search", "seeds": 3, "comparisons": [comparison], "search": search}))
        4
    """
    trials = require_search(recipe).count()
    return sum(
        len(list(comparison.iter_layers())) * (trials + recipe.count_seeds(comparison) - 1)
        for comparison in recipe.comparisons
    )


def choose_folder(config: RunConfig, folder: Path) -> Path:
    """Choose a folder for a run that is unique among all that are ever tried."""
    return folder / f"{format_folder_name(config)}-{compute_digest(config)}"


def _run_trials(
    candidates: list[Candidate],
    folder: Path,
    known: dict[Path, Result],
    complete: Callable[[dict[Path, RunConfig]], dict[Path, Result]],
) -> None:
    """Run one more trial for every candidate; what was tried before is not trained again."""
    asked = [candidate.sampler.ask() for candidate in candidates]
    configs = [
        candidate.comparison.config(candidate.layer, settings)
        for candidate, settings in zip(candidates, asked, strict=True)
    ]
    paths = [choose_folder(config, folder) for config in configs]
    known |= complete({path: config for path, config in zip(paths, configs, strict=True) if path not in known})
    for candidate, settings, config, path in zip(candidates, asked, configs, paths, strict=True):
        trial = Trial(path, config, settings, known[path])
        candidate.trials.append(trial)
        candidate.sampler.tell(trial.metric)
