"""The files of a run, and how they are written."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from remanence.checkpoints import read_tensors
from remanence.errors import RunError, UserError
from remanence.files import replace_file, write_text

CONFIG, METRICS, RESULT = "config.yaml", "metrics.csv", "result.json"
COLUMNS = ("epoch", "step", "seconds", "train_loss", "validation_loss", "validation_metric")
"""Of ``metrics.csv``, one row per epoch."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Args:
        path: the path of the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The configuration; a folder with this file is a run."""
        return self.path / CONFIG

    @property
    def metrics(self) -> Path:
        """The learning curve."""
        return self.path / METRICS

    @property
    def result(self) -> Path:
        """The result; it exists once the run has finished."""
        return self.path / RESULT

    @property
    def best(self) -> Path:
        """The weights at the best validation."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint from which the run resumes."""
        return self.path / "checkpoints" / "last.ckpt"

    def snapshot(self, epoch: int) -> Path:
        """The weights after an epoch, if ``training.snapshot_every`` saved them.

        Args:
            epoch: 0 for the weights before training.
        """
        return self.path / "checkpoints" / f"epoch-{epoch}.ckpt"

    @property
    def remedy(self) -> str:
        """What to do with a run that cannot be resumed."""
        return f"remove the folder {self.path}, and the same command starts this run from the beginning"

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write ``metrics.csv``.

        Args:
            rows: one mapping per epoch, with the keys :data:`COLUMNS`.
        """
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([f"{row[column]:.6g}" for column in COLUMNS])
        write_text(self.metrics, file.getvalue())


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a checkpoint of a run once the new one is whole."""
    # By way of memory: where the disk is full, torch.save to a file raises an error that does not say so.
    memory = io.BytesIO()
    torch.save(content, memory)
    with replace_file(path) as file:
        file.write(memory.getbuffer())


def read_checkpoint(path: Path) -> Any:
    """Read a checkpoint of a run.

    Raises:
        RunError: it is missing or damaged.
        OSError: it cannot be read.
    """
    try:
        return read_tensors(path)
    except (FileNotFoundError, UserError) as error:
        remedy = RunFolder(path.parents[1]).remedy
        raise RunError(f"{path} is missing or damaged: {remedy}") from error
