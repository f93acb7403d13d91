"""One run in one folder: trained, recorded, resumed after a crash, never half-written."""

import csv
import io
import json
import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from remanence.checkpoints import read_tensors
from remanence.errors import DivergenceError, RunError
from remanence.files import replacing, write_text
from remanence.locks import Lock, locked
from remanence.training.claim import CONFIG, RESULT, claim, identity, is_finished, release, remedy
from remanence.training.config import RunConfig, TrainingConfig
from remanence.training.experiment import Experiment, enough_memory
from remanence.training.peak import forget_peak, peak_mib

Progress = Callable[[int, int, float | None], None]
"""Called with steps done, steps in all, and the last validation metric; at the end of the run with (1, 1, None)."""

COLUMNS = ("epoch", "step", "seconds", "train_loss", "validation_loss", "validation_metric")
PROGRESS_INTERVAL = 0.2  # seconds


@dataclass(frozen=True)
class Result:
    """What a run came to; ``failure`` says in a sentence why it has no figures.

    ``memory`` is the most that it took, in MiB (:func:`remanence.training.peak.peak_mib`), of the part after the last
    resumption if it was interrupted.
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


def train(config: RunConfig, folder: Path, *, overwrite: bool = False, progress: Progress | None = None) -> Result:
    """Train, validate each epoch, test at the best epoch; or go on where an interrupted run of the same folder stopped.

    Args:
        config: the run.
        folder: gets ``config.yaml``, ``metrics.csv``, ``checkpoints/`` and, at the end, ``result.json``.
        overwrite: start anew where the folder holds a run already. Without it, a finished run with fewer epochs goes
            on, and one that failed before its first checkpoint is replaced.
        progress: told how far it is, a few times a second.

    Returns:
        The result; at once, if the folder has it already.

    Raises:
        ValueError: the folder holds a run of another configuration, or the task or layer refuses its options.
        DivergenceError: the loss became infinite or NaN; the folder's result says so too.
        RunError: another process trains in this folder, or it was removed meanwhile; a file of an interrupted run is
            damaged; there is not enough memory.
        OSError: the folder cannot be written; what was complete before stays.
    """
    quiet_lightning()
    torch.set_num_threads(config.training.threads)
    lightning.seed_everything(config.seed, verbose=False)
    experiment = Experiment(config)
    if not overwrite and is_finished(folder, config):
        return read_result(folder)  # without the lock: the folder may be one that cannot be written
    with locked(folder) as lock:
        claim(folder, config, overwrite=overwrite)
        if is_finished(folder, config):  # by another process, meanwhile
            return read_result(folder)
        return complete(experiment, folder, lock, progress)


def complete(experiment: Experiment, folder: Path, lock: Lock, progress: Progress | None) -> Result:
    """Train from the last checkpoint on, or from the start; then test."""
    config = experiment.config
    recorder = Recorder(folder, config, lock, progress)
    trainer = make_trainer(config.training, recorder)
    forget_peak()
    last = folder / "checkpoints" / "last.ckpt"
    try:
        with enough_memory(config):
            if recorder.restored(experiment) is None:
                trainer.fit(
                    experiment,
                    experiment.loader("train"),
                    experiment.loader("validation"),
                    ckpt_path=last if last.exists() else None,
                )
            result = tested(experiment, trainer, recorder)
    except DivergenceError as error:
        lock.check()
        record(folder, described(experiment, recorder, failure=str(error)))
        raise
    except SystemExit:
        # Lightning turns Ctrl-C into exit(1); whoever called us may want to say something first.
        raise KeyboardInterrupt from None
    finally:
        release(folder)
        if progress:
            progress(1, 1, None)
    lock.check()
    return record(folder, result)


def read_result(folder: Path) -> Result:
    """The result of a finished run.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / RESULT
    try:
        return Result(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{path} is damaged: remove it, and the same command tests the run again") from error


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a checkpoint once the new one is whole."""
    # By way of memory: where the disk is full, torch.save to a file raises an error that does not say so.
    memory = io.BytesIO()
    torch.save(content, memory)
    with replacing(path) as file:
        file.write(memory.getbuffer())


def read_checkpoint(path: Path) -> Any:
    """What a checkpoint of a run holds.

    Raises:
        RunError: it is missing or damaged.
        OSError: it cannot be read.
    """
    try:
        return read_tensors(path)
    except (FileNotFoundError, ValueError) as error:
        raise RunError(f"{path} is missing or damaged: {remedy(path.parents[1])}") from error


def record(folder: Path, result: Result) -> Result:
    """Write ``result.json``, the sign that the run is over."""
    write_text(folder / RESULT, json.dumps(asdict(result), indent=2) + "\n")
    return result


def make_trainer(training: TrainingConfig, recorder: "Recorder") -> lightning.Trainer:
    """Lightning's trainer, silent, with our own record of the run."""
    return lightning.Trainer(
        max_epochs=training.epochs,
        limit_train_batches=training.epoch_steps,
        gradient_clip_val=training.clip or None,
        precision=training.precision,
        devices=1,
        callbacks=[recorder],
        plugins=[SafeCheckpoints()],
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def tested(experiment: Experiment, trainer: lightning.Trainer, recorder: "Recorder") -> Result:
    """Test at the weights of the best validation."""
    load_weights(experiment, recorder.best_path)
    (test,) = trainer.test(experiment, experiment.loader("test"), verbose=False)
    return described(experiment, recorder, test=test)


def load_weights(experiment: Experiment, path: Path) -> None:
    """Give the model of a run the weights of one of its checkpoints.

    Raises:
        RunError: they are missing, damaged, or those of another run.
    """
    weights = read_checkpoint(path)
    try:
        experiment.model.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:  # missing keys, other shapes, no weights at all
        folder = path.parents[1]
        raise RunError(f"{path} does not fit {folder / CONFIG}: {remedy(folder)}") from error


def described(
    experiment: Experiment,
    recorder: "Recorder",
    *,
    test: Mapping[str, float] | None = None,
    failure: str | None = None,
) -> Result:
    """Put together what is known of a run."""
    config, rows, test = experiment.config, recorder.rows, test or {}
    last = rows[-1] if rows else {"epoch": 0, "step": 0, "seconds": 0.0}
    return Result(
        task=config.task.name,
        layer=config.layer.name,
        hidden_size=config.layer.hidden_size,
        seed=config.seed,
        parameters=sum(parameter.numel() for parameter in experiment.parameters() if parameter.requires_grad),
        metric=experiment.task.metric,
        chance=experiment.task.chance,
        test_metric=test.get("test_metric"),
        test_loss=test.get("test_loss"),
        validation_metric=min((row["validation_metric"] for row in rows), default=None),
        epochs=int(last["epoch"]),
        steps=int(last["step"]),
        seconds=round(last["seconds"], 2),
        stopped=stop_reason(rows, recorder.training),
        failure=failure,
        memory=peak_mib(),
    )


def stop_reason(rows: list[dict[str, Any]], training: TrainingConfig) -> str | None:
    """Why training is over ("solved", "patience", "budget"), or None while it is not; the record alone decides."""
    metrics = [row["validation_metric"] for row in rows]
    if not metrics:
        return None
    if training.solved is not None and metrics[-1] <= training.solved:
        return "solved"
    if training.patience and len(metrics) - 1 - metrics.index(min(metrics)) >= training.patience:
        return "patience"
    return "budget" if len(metrics) >= training.epochs else None


class Recorder(lightning.Callback):
    """Keeps the record of a run: a row an epoch, the best weights, and a checkpoint from which it can go on.

    The rows travel in the checkpoint, so that a resumed run has the record of an unbroken one.
    """

    def __init__(self, folder: Path, config: RunConfig, lock: Lock, progress: Progress | None):
        self.lock = lock
        self.metrics_path = folder / "metrics.csv"
        self.best_path = folder / "checkpoints" / "best.ckpt"
        self.last_path = folder / "checkpoints" / "last.ckpt"
        self.training = config.training
        self.seed = config.seed
        self.identity = identity(config)
        self.remedy = remedy(folder)
        self.rows: list[dict[str, Any]] = []
        self._progress = progress
        self._reported = 0.0
        self._started = time.monotonic()

    def restored(self, experiment: Experiment) -> str | None:
        """Take up the rows of the last checkpoint; return why that run was over, if it was.

        Raises:
            RunError: it is damaged, or that of another run.
        """
        if self.last_path.exists():
            state = read_checkpoint(self.last_path)
            try:
                own = state["callbacks"][self.state_key]
                experiment.load_state_dict(state["state_dict"])
                self.load_state_dict(own)
            except (LookupError, TypeError, AttributeError, RuntimeError) as error:
                raise RunError(f"{self.last_path} is damaged, or that of another run: {self.remedy}") from error
            if own.get("run", self.identity) != self.identity:  # runs of earlier versions do not say it
                raise RunError(f"{self.last_path} is the checkpoint of another run: {self.remedy}")
        return stop_reason(self.rows, self.training)

    def state_dict(self) -> dict[str, Any]:
        """The rows, for the checkpoint, and whose they are."""
        return {"rows": self.rows, "run": self.identity}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of a checkpoint."""
        self.rows = list(state_dict["rows"])
        self._started = time.monotonic() - (self.rows[-1]["seconds"] if self.rows else 0.0)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Random numbers depend on seed and epoch alone, so a resumed epoch draws the same."""
        torch.manual_seed(self.seed + 1_000_003 * (trainer.current_epoch + 1))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell how far the run is, a few times a second."""
        now = time.monotonic()
        if self._progress and now - self._reported > PROGRESS_INTERVAL:
            self._reported = now
            total = self.training.epochs * int(trainer.num_training_batches)
            self._progress(trainer.global_step, total, self.rows[-1]["validation_metric"] if self.rows else None)

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the weights that training starts from, if any are kept."""
        self.lock.check()
        if self.training.keep and not self.rows:
            self._keep(pl_module, epoch=0)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Record the epoch; stop if it was the last that is needed."""
        self.lock.check()
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        self.rows.append({"epoch": epoch, "step": step, "seconds": time.monotonic() - self._started, **metrics})
        if metrics["validation_metric"] <= min(row["validation_metric"] for row in self.rows[:-1] or self.rows):
            write_checkpoint(self.best_path, pl_module.model.state_dict())  # type: ignore[union-attr]
        if self.training.keep and epoch % self.training.keep == 0:
            self._keep(pl_module, epoch)
        trainer.save_checkpoint(self.last_path)
        write_text(self.metrics_path, as_csv(self.rows))
        trainer.should_stop = stop_reason(self.rows, self.training) is not None

    def _keep(self, experiment: lightning.LightningModule, epoch: int) -> None:
        path = self.best_path.with_name(f"epoch-{epoch}.ckpt")
        write_checkpoint(path, experiment.model.state_dict())  # type: ignore[union-attr]


class SafeCheckpoints(TorchCheckpointIO):
    """Checkpoints that replace the last one only once they are whole; nothing in them is run when they are read."""

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint."""
        return read_checkpoint(Path(path))

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        write_checkpoint(Path(path), checkpoint)


def as_csv(rows: list[dict[str, Any]]) -> str:
    """The rows under :data:`COLUMNS`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([f"{row[column]:.6g}" for column in COLUMNS])
    return file.getvalue()


def quiet_lightning() -> None:
    """Leave the screen to our own table and bars; errors still come through."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    for known in (".*does not have many workers.*", ".*smaller than the logging interval.*", ".*LeafSpec.*"):
        warnings.filterwarnings("ignore", known)
