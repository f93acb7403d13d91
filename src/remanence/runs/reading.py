"""Reading run folders: configuration, learning curve, result."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from remanence.errors import UserError
from remanence.extras import require_extra
from remanence.files import read_text
from remanence.runs.folder import CONFIG, RunFolder
from remanence.runs.renamed import update_section
from remanence.runs.result import read_result
from remanence.yaml_files import parse_yaml

CURVE = ("step", "seconds", "validation_metric")
LONGEST = 10_000  # letters in a line of metrics.csv


@dataclass(frozen=True, eq=False)
class Run:
    """One run; what only a finished run has is None before.

    Attributes:
        folder: where it lies.
        config: all of ``config.yaml``.
        curve: columns of ``metrics.csv``, one value an epoch; empty before the first epoch is over.
        result: all of ``result.json``; None while the run is unfinished.
    """

    folder: Path
    config: dict[str, Any]
    curve: dict[str, np.ndarray]
    result: dict[str, Any] | None

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.config["task"]["name"]

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return self.config["layer"]["name"]

    @property
    def hidden_size(self) -> int:
        """Units of the layer."""
        return self.config["layer"]["hidden_size"]

    @property
    def seed(self) -> int:
        """Seed of initialisation and order."""
        return self.config["seed"]

    @property
    def state(self) -> Literal["finished", "failed", "unfinished"]:
        """Whether there are figures, and if not, why."""
        if self.result is None:
            return "unfinished"
        return "finished" if self.result["failure"] is None else "failed"


def load(paths: Iterable[Path | str]) -> list[Run]:
    """Read runs, each once, sorted by the names of their folders.

    Args:
        paths: folders of runs, or folders that hold such folders at any depth.

    Returns:
        The runs.

    Raises:
        ValueError: there is no run, or a file of a run is broken (the message has the file and the line).
    """
    given = [Path(path) for path in paths]
    folders: dict[Path, Path] = {}
    for path in given:
        if not path.is_dir():
            raise UserError(f"{path} is not a folder: pass a run folder, or a folder that contains runs")
        for folder in find_run_folders(path):
            folders.setdefault(folder.resolve(), folder)
    if not folders:
        places = ", ".join(map(str, given)) or "no folder at all"
        raise UserError(f"no run in {places}: create one with remanence train or remanence compare")
    runs = [read_run(folder) for folder in folders.values()]
    fields = {tuple(sorted({*run.config["model"], *run.config["training"]})) for run in runs}
    return runs if len(fields) == 1 else [replace(run, config=fill_defaults(run.config)) for run in runs]


def fill_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Fill in defaults for fields that a configuration's version did not have; unknown fields leave it unchanged."""
    with require_extra("train", "remanence.report"):
        from pydantic import ValidationError

        from remanence.runs.config import RunConfig

    try:
        return RunConfig.model_validate(config).model_dump(mode="json")
    except ValidationError:
        return config


def find_run_folders(path: Path) -> list[Path]:
    """Return the folder itself if it is a run, else the runs below it."""
    if RunFolder(path).config.is_file():
        return [path]
    return sorted(file.parent for file in path.rglob(CONFIG))


def read_run(folder: Path) -> Run:
    """Read one run folder."""
    run = Run(
        folder,
        config=read_config(RunFolder(folder).config),
        curve=read_curve(RunFolder(folder).metrics),
        result=read_result(RunFolder(folder)),
    )
    for field in ("task", "layer", "hidden_size", "seed"):
        if run.result is not None and run.result.get(field, getattr(run, field)) != getattr(run, field):
            raise UserError(
                f"{folder}: result.json is that of another run, its {field} is {run.result[field]!r} and that of "
                f"config.yaml {getattr(run, field)!r}: remove result.json and train the run again"
            )
    return run


def read_config(path: Path) -> dict[str, Any]:
    """Read ``config.yaml``."""
    config = parse_yaml(read_text(path), path)
    kinds = {"task.name": str, "layer.name": str, "layer.hidden_size": int, "seed": int}
    for field, kind in kinds.items():
        if not isinstance(get_field(config, field), kind):
            raise UserError(f"{path}: not the configuration of a run: {field} should be {kind.__name__}")
    for field in ("task.options", "layer.options", "model", "training", "versions"):
        if not isinstance(get_field(config, field), dict):
            raise UserError(f"{path}: not the configuration of a run: {field} should be a mapping")
    config["training"] = update_section("training", config["training"])
    return config


def get_field(data: Any, field: str) -> Any:
    """Return the value at ``a.b`` in nested mappings; None if there is none."""
    for key in field.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data


def read_curve(path: Path) -> dict[str, np.ndarray]:
    """Read ``metrics.csv``; empty columns where it is not there yet."""
    if not path.exists():
        return {column: np.empty(0) for column in CURVE}
    lines = read_text(path).splitlines()
    long = next((number for number, line in enumerate(lines, start=1) if len(line) > LONGEST), None)
    if long is not None:
        raise UserError(f"{path}, line {long}: longer than any line of numbers")
    reader = csv.DictReader(lines)
    missing = [column for column in CURVE if column not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path}, line 1: no column {', '.join(missing)} in the header")
    values: list[list[float]] = []
    for row in reader:
        try:
            values.append([float(row[column]) for column in CURVE])
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}, line {reader.line_num}: a number is missing or broken") from error
    columns = np.array(values).reshape(-1, len(CURVE)).T
    return dict(zip(CURVE, columns, strict=True))
