"""One run in one folder: trained, recorded, resumable after a crash, written atomically."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import lightning
import torch

from remanence.errors import DivergenceError, RunError
from remanence.locks import Lock, lock_folder
from remanence.runs.claims import claim, is_finished, release
from remanence.runs.config import RunConfig, TrainingConfig
from remanence.runs.folder import RunFolder, read_checkpoint
from remanence.runs.result import Result, load_result, write_result
from remanence.tasks import AnyLength
from remanence.training.experiment import Experiment, explain_out_of_memory
from remanence.training.peak import forget_peak, measure_peak_mib
from remanence.training.recorder import Progress, Recorder, SafeCheckpoints, find_stop_reason


def train(config: RunConfig, folder: Path, *, overwrite: bool = False, progress: Progress | None = None) -> Result:
    """Train, validate after each epoch, and test at the best epoch; an interrupted run in the same folder is resumed.

    Args:
        config: the run.
        folder: gets ``config.yaml``, ``metrics.csv``, ``checkpoints/`` and, at the end, ``result.json``.
        overwrite: restart if the folder already holds a run. Without it, a finished run with fewer epochs is extended,
            and one that failed before its first checkpoint is replaced.
        progress: called a few times per second.

    Returns:
        The result; immediately, if the folder already has it.

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
        return load_result(RunFolder(folder))  # without the lock: the folder may be one that cannot be written
    with lock_folder(folder) as lock:
        claim(folder, config, overwrite=overwrite)
        if is_finished(folder, config):  # by another process, meanwhile
            return load_result(RunFolder(folder))
        return complete(experiment, folder, lock, progress)


def complete(experiment: Experiment, folder: Path, lock: Lock, progress: Progress | None) -> Result:
    """Train from the last checkpoint on, or from the start; then test."""
    config = experiment.config
    files = RunFolder(folder)
    recorder = Recorder(files, config, lock, progress)
    trainer = make_trainer(config.training, recorder)
    forget_peak()
    try:
        with explain_out_of_memory(config):
            if recorder.restore(experiment) is None:
                trainer.fit(
                    experiment,
                    experiment.loader("train"),
                    experiment.loader("validation"),
                    ckpt_path=files.last if files.last.exists() else None,
                )
            result = test_best(experiment, trainer, recorder)
    except DivergenceError as error:
        lock.check()
        write_result(files, build_result(experiment, recorder, failure=str(error)))
        raise
    except SystemExit:
        # Lightning turns Ctrl-C into exit(1); whoever called us may want to say something first.
        raise KeyboardInterrupt from None
    finally:
        release(folder)
        if progress:
            progress(1, 1, None)
    lock.check()
    return write_result(files, result)


def make_trainer(training: TrainingConfig, recorder: Recorder) -> lightning.Trainer:
    """Create Lightning's trainer, silent, with our own record of the run."""
    return lightning.Trainer(
        max_epochs=training.epochs,
        limit_train_batches=training.steps_per_epoch,
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


def test_best(experiment: Experiment, trainer: lightning.Trainer, recorder: Recorder) -> Result:
    """Test at the weights of the best validation."""
    load_weights(experiment, recorder.folder.best)
    (test,) = trainer.test(experiment, experiment.loader("test"), verbose=False)
    return build_result(experiment, recorder, test=test, length_metrics=test_lengths(experiment, trainer))


def test_lengths(experiment: Experiment, trainer: lightning.Trainer) -> dict[str, float] | None:
    """Measure the metric at each length of the task; None if it has one length only."""
    task = experiment.task
    if not isinstance(task, AnyLength) or not task.lengths:
        return None
    metrics = {}
    for length in task.lengths:
        loader = experiment.load_for_evaluation(task.dataset_at(length))
        (test,) = trainer.test(experiment, loader, verbose=False)
        metrics[str(length)] = test["test_metric"]
    return metrics


def load_weights(experiment: Experiment, path: Path) -> None:
    """Give the model of a run the weights of one of its checkpoints.

    Raises:
        RunError: they are missing, damaged, or those of another run.
    """
    weights = read_checkpoint(path)
    try:
        experiment.model.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:  # missing keys, other shapes, no weights at all
        folder = RunFolder(path.parents[1])
        raise RunError(f"{path} does not fit {folder.config}: {folder.remedy}") from error


def build_result(
    experiment: Experiment,
    recorder: Recorder,
    *,
    test: Mapping[str, float] | None = None,
    length_metrics: dict[str, float] | None = None,
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
        stopped=find_stop_reason(rows, recorder.training),
        failure=failure,
        memory=measure_peak_mib(),
        length_metrics=length_metrics,
        train_length=experiment.task.length if isinstance(experiment.task, AnyLength) else None,
    )


def quiet_lightning() -> None:
    """Leave the screen to our own table and bars; errors still come through."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    for known in (".*does not have many workers.*", ".*smaller than the logging interval.*", ".*LeafSpec.*"):
        warnings.filterwarnings("ignore", known)
