"""The record of a run during training: one row per epoch, and checkpoints from which it can resume."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from remanence.errors import RunError
from remanence.locks import Lock
from remanence.runs.claims import compute_identity, is_same_run
from remanence.runs.config import RunConfig, TrainingConfig
from remanence.runs.folder import RunFolder, read_checkpoint, write_checkpoint
from remanence.training.experiment import Experiment

Progress = Callable[[int, int, float | None], None]
"""Called with steps done, steps in all, and the last validation metric; at the end of the run with (1, 1, None)."""

PROGRESS_INTERVAL = 0.2  # seconds


def find_stop_reason(rows: list[dict[str, Any]], training: TrainingConfig) -> str | None:
    """Return why training is over ("solved", "patience", "budget"), or None; only the record decides."""
    metrics = [row["validation_metric"] for row in rows]
    if not metrics:
        return None
    if training.stop_at_metric is not None and metrics[-1] <= training.stop_at_metric:
        return "solved"
    if training.patience and len(metrics) - 1 - metrics.index(min(metrics)) >= training.patience:
        return "patience"
    return "budget" if len(metrics) >= training.epochs else None


class Recorder(lightning.Callback):
    """Keeps the record of a run: one row per epoch, the best weights, and a checkpoint from which it can resume.

    The rows travel in the checkpoint, so that a resumed run has the record of an unbroken one.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, lock: Lock, progress: Progress | None):
        self.lock = lock
        self.folder = folder
        self.config = config
        self.training = config.training
        self.seed = config.seed
        self.rows: list[dict[str, Any]] = []
        self._progress = progress
        self._reported = 0.0
        self._started = time.monotonic()

    def restore(self, experiment: Experiment) -> str | None:
        """Take up the rows of the last checkpoint; return why that run was over, if it was.

        Raises:
            RunError: it is damaged, or that of another run.
        """
        if self.folder.last.exists():
            state = read_checkpoint(self.folder.last)
            try:
                own = state["callbacks"][self.state_key]
                experiment.load_state_dict(state["state_dict"])
                self.load_state_dict(own)
            except (LookupError, TypeError, AttributeError, RuntimeError) as error:
                raise RunError(
                    f"{self.folder.last} is damaged or belongs to another run: {self.folder.remedy}"
                ) from error
            if "run" in own and not is_same_run(own["run"], self.config):  # runs of earlier versions do not say it
                raise RunError(f"{self.folder.last} belongs to another run: {self.folder.remedy}")
        return find_stop_reason(self.rows, self.training)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the identity of the run, for the checkpoint."""
        return {"rows": self.rows, "run": compute_identity(self.config)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of a checkpoint."""
        self.rows = list(state_dict["rows"])
        self._started = time.monotonic() - (self.rows[-1]["seconds"] if self.rows else 0.0)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Seed the epoch, so that a resumed one draws the same random numbers."""
        torch.manual_seed(self.seed + 1_000_003 * (trainer.current_epoch + 1))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report progress, a few times per second."""
        now = time.monotonic()
        if self._progress and now - self._reported > PROGRESS_INTERVAL:
            self._reported = now
            total = self.training.epochs * int(trainer.num_training_batches)
            self._progress(trainer.global_step, total, self.rows[-1]["validation_metric"] if self.rows else None)

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the weights that training starts from, if snapshots are wanted."""
        self.lock.check()
        if self.training.snapshot_every and not self.rows:
            self._save_snapshot(pl_module, epoch=0)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Record the epoch; stop if it was the last that is needed."""
        self.lock.check()
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        self.rows.append({"epoch": epoch, "step": step, "seconds": time.monotonic() - self._started, **metrics})
        if metrics["validation_metric"] <= min(row["validation_metric"] for row in self.rows[:-1] or self.rows):
            write_checkpoint(self.folder.best, pl_module.model.state_dict())  # type: ignore[union-attr]
        if self.training.snapshot_every and epoch % self.training.snapshot_every == 0:
            self._save_snapshot(pl_module, epoch)
        trainer.save_checkpoint(self.folder.last)
        self.folder.write_metrics(self.rows)
        trainer.should_stop = find_stop_reason(self.rows, self.training) is not None

    def _save_snapshot(self, experiment: lightning.LightningModule, epoch: int) -> None:
        write_checkpoint(self.folder.snapshot(epoch), experiment.model.state_dict())  # type: ignore[union-attr]


class SafeCheckpoints(TorchCheckpointIO):
    """Checkpoints that replace the last one only once they are whole; nothing in them is run when they are read."""

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint."""
        return read_checkpoint(Path(path))

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        write_checkpoint(Path(path), checkpoint)
