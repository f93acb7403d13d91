"""Who learns, and how fast."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from remanence.report import Run


@dataclass(frozen=True)
class Success:
    """The runs of one setting that differ by their seed.

    Attributes:
        label: the memory and its options, as a person would say it.
        task: name and options of the task.
        settings: ``model.initial`` and ``training.frozen``, where set.
        steps: optimiser steps until the validation metric reached ``training.stop_at_metric``, for the runs in which it
            did.
        seeds: how many runs there are.
        budget: the most steps that a run had.
    """

    label: str
    task: dict[str, Any]
    settings: dict[str, Any]
    steps: tuple[int, ...]
    seeds: int
    budget: int

    @property
    def rate(self) -> float:
        """The share of the seeds that got there."""
        return len(self.steps) / self.seeds

    @property
    def median(self) -> float:
        """Median steps of those that got there; NaN if none did."""
        return float(np.median(self.steps)) if self.steps else float("nan")

    def __str__(self) -> str:
        """``5/5 in 75 (50 to 100)``."""
        if not self.steps:
            return f"0/{self.seeds}"
        low, high = min(self.steps), max(self.steps)
        between = f" ({low:,} to {high:,})" if low != high else ""
        return f"{len(self.steps)}/{self.seeds} in {self.median:,.0f}{between}"


def group_successes(runs: Iterable[Run]) -> list[Success]:
    """Group runs by setting, in the order of the runs; unfinished runs do not count."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.state != "unfinished":
            key = json.dumps([run.config[part] for part in ("task", "layer", "model", "training")], sort_keys=True)
            groups.setdefault(key, []).append(run)
    return [build_success(group) for group in groups.values()]


def build_success(runs: list[Run]) -> Success:
    """Summarise runs that differ only in their seed."""
    config = runs[0].config
    training = config["training"]
    steps = [find_first_success(run) for run in runs]
    return Success(
        label=format_label(config["layer"]),
        task=config["task"],
        settings={"initial": config["model"]["initial"], "frozen": tuple(training["frozen"])},
        steps=tuple(sorted(step for step in steps if step is not None)),
        seeds=len(runs),
        budget=training["epochs"] * training["steps_per_epoch"],
    )


def find_first_success(run: Run) -> int | None:
    """Find the first step at which the validation metric reached ``training.stop_at_metric``; None if it never did."""
    solved = np.flatnonzero(run.curve["validation_metric"] <= run.config["training"]["stop_at_metric"])
    return int(run.curve["step"][solved[0]]) if len(solved) else None


def format_label(layer: dict[str, Any]) -> str:
    """Format a layer and its options in words."""
    words = [str(value) if isinstance(value, str) else f"{key} {value}" for key, value in layer["options"].items()]
    return " ".join([layer["name"], *words])
