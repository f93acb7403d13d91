"""The outcome of a run, in ``result.json``."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from remanence.errors import RunError, UserError
from remanence.files import read_text, write_text
from remanence.runs.folder import RunFolder

KEYS = ("metric", "chance", "parameters", "test_metric", "seconds", "steps", "stopped", "failure")
"""The keys that all versions write."""


@dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes:
        task: the name of the task.
        layer: the name of the layer.
        hidden_size: its hidden size.
        seed: the seed of the run.
        parameters: the number of parameters of the model.
        metric: the name of the metric; lower is better.
        chance: the metric of a guess.
        test_metric: the metric on the test data, at the best epoch; None if the run failed.
        test_loss: the loss on the test data, at the best epoch; None if the run failed.
        validation_metric: the metric on the validation data, at the best epoch; None if the run failed.
        epochs: the number of epochs trained.
        steps: the number of optimiser steps.
        seconds: the duration of training.
        stopped: why training ended: ``"solved"`` (``stop_at_metric`` was reached), ``"patience"`` or ``"budget"``; None
            if the run failed.
        failure: why there are no figures, in a sentence; None if the run did not fail.
        memory: the peak memory in MiB (:func:`remanence.training.peak.measure_peak_mib`), since the last resumption if
            the run was interrupted; None if it was not measured.
        length_metrics: the test metric by the length of the sequences, as in ``{"40": 0.01, "256": 0.3}``; None for
            tasks whose sequences do not have any length.
        train_length: the length of the sequences in training; None likewise.
    """

    task: str
    layer: str
    hidden_size: int
    seed: int
    parameters: int
    metric: str
    chance: float
    test_metric: float | None
    test_loss: float | None
    validation_metric: float | None
    epochs: int
    steps: int
    seconds: float
    stopped: str | None
    failure: str | None = None
    memory: float | None = None
    length_metrics: dict[str, float] | None = None
    train_length: int | None = None


def write_result(folder: RunFolder, result: Result) -> Result:
    """Write ``result.json``, the sign that the run is over."""
    write_text(folder.result, json.dumps(asdict(result), indent=2) + "\n")
    return result


def read_result(folder: RunFolder) -> dict[str, Any] | None:
    """Read the result of a run of any version; None if there is none yet.

    Raises:
        ValueError: the file is damaged; the message has the line.
    """
    path = folder.result
    if not path.exists():
        return None
    try:
        result = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise UserError(f"{path}: not the result of a run: values are nested too deeply") from error
    missing = [key for key in KEYS if key not in result] if isinstance(result, dict) else list(KEYS)
    if missing:
        raise UserError(f"{path}: not the result of a run: {', '.join(missing)} is missing")
    numbers: dict[str, Any] = {"parameters": int, "steps": int, "seconds": int | float, "chance": int | float}
    if result["failure"] is None:  # else what is not known is None
        numbers["test_metric"] = int | float
    for field, kind in numbers.items():
        if not isinstance(result[field], kind):
            raise UserError(f"{path}: {field} should be a number, got {result[field]!r}")
    curve = result.get("length_metrics")
    if curve is not None and not is_length_curve(curve):
        raise UserError(f"{path}: length_metrics should have a number for each length, got {curve!r}")
    if not isinstance(result.get("train_length"), int | None):
        raise UserError(f"{path}: train_length should be a number, got {result['train_length']!r}")
    return result


def is_length_curve(value: Any) -> bool:
    """Whether a value maps positive integers, as text, to numbers."""
    if not isinstance(value, dict):
        return False
    lengths = all(length.isascii() and length.isdecimal() and int(length) > 0 for length in value)
    return lengths and all(isinstance(metric, int | float) for metric in value.values())


def load_result(folder: RunFolder) -> Result:
    """Load the result of a finished run of this version.

    Raises:
        RunError: the file is damaged.
    """
    try:
        return Result(**(read_result(folder) or {}))
    except (ValueError, TypeError) as error:
        raise RunError(f"{folder.result} is damaged: remove it, and the same command tests the run again") from error
