"""Many runs: planned, checked before the first one starts, trained in parallel, each of them resumable."""

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import TypeAlias

import torch

from remanence.errors import DivergenceError, RunError
from remanence.locks import lock_folder
from remanence.runs.claims import claim, is_finished, release
from remanence.runs.config import RunConfig, TrainingConfig
from remanence.runs.folder import RunFolder
from remanence.runs.result import Result, load_result
from remanence.training.experiment import Experiment
from remanence.training.run import train

Message: TypeAlias = tuple[Path, int, int, float | None]
"""Folder of the run, steps done, steps in all, last validation metric."""

TrainAll: TypeAlias = Callable[[Mapping[Path, RunConfig]], None]
"""Trains all of these runs."""

RELAY_INTERVAL = 0.1  # seconds


def plan(configs: Iterable[RunConfig], output: Path) -> dict[Path, RunConfig]:
    """Assign a folder to each run: ``task-layer-size-seedN``, with a digest if names would clash.

    Args:
        configs: the configurations of the runs.
        output: the folder that contains the folders of the runs.

    Returns:
        The configuration of each run, by its folder.

    Example:
        >>> from remanence.training import build_run_config
        >>> config = build_run_config({"task": {"name": "retrieval"}, "layer": {"name": "gru", "hidden_size": 20}})
        >>> [folder.as_posix() for folder in plan([config], Path("runs"))]
        ['runs/retrieval-gru-20-seed0']
    """
    configs = list(configs)
    names = [format_folder_name(config) for config in configs]
    shared = Counter(names)
    return {
        output / (name if shared[name] == 1 else f"{name}-{compute_digest(config)}"): config
        for name, config in zip(names, configs, strict=True)
    }


def count_jobs(trainings: Iterable[TrainingConfig]) -> int:
    """Return how many runs the machine has cores for at the same time.

    Args:
        trainings: the training configurations of the runs.

    Returns:
        The number of runs, at least 1.

    Example:
        >>> from remanence.training import TrainingConfig
        >>> count_jobs([TrainingConfig()]) >= 1
        True
    """
    return max(1, (os.cpu_count() or 1) // max(training.threads for training in trainings))


def format_folder_name(config: RunConfig) -> str:
    """Format the folder name of a run."""
    layer = config.layer.name.replace(":", ".")
    return f"{config.task.name.replace(':', '.')}-{layer}-{config.layer.hidden_size}-seed{config.seed}"


def compute_digest(config: RunConfig) -> str:
    """Compute six hexadecimal digits that distinguish configurations; the versions do not count."""
    # Without defaults, a field that a later version adds does not change the digests of earlier runs.
    content = json.dumps(config.model_dump(mode="json", exclude={"versions"}, exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:6]


def compare(
    runs: Mapping[Path, RunConfig],
    *,
    jobs: int = 1,
    overwrite: bool = False,
    tell: Callable[[Message], None] = lambda message: None,
) -> dict[Path, Result]:
    """Train every run that has no result yet, ``jobs`` at a time, each in its own process.

    A run that diverges is recorded as failed; the others continue.

    Args:
        runs: the folder and the configuration of each (:func:`plan`).
        jobs: processes.
        overwrite: restart all of them.
        tell: called in this process with the progress of each run.

    Returns:
        The result of each run.

    Raises:
        ValueError: a configuration that cannot be built, or a folder that holds another run; nothing was trained.
        OSError: a run could not be written; the same call continues where it stopped.
        RunError: a process was killed from outside, or memory ended; the same call continues where it stopped.
    """
    with start_workers(jobs, tell) as train_all:
        return complete_runs(runs, train_all, overwrite=overwrite)


def complete_runs(
    runs: Mapping[Path, RunConfig], train_all: TrainAll, *, overwrite: bool = False
) -> dict[Path, Result]:
    """Train the runs that have no result yet with existing processes, and load all results (see :func:`compare`)."""
    for config in {compute_digest(config): config for config in runs.values()}.values():
        Experiment(config)
    waiting = {folder: config for folder, config in runs.items() if overwrite or not is_finished(folder, config)}
    for folder, config in waiting.items():
        with lock_folder(folder):
            claim(folder, config, overwrite=overwrite)
    try:
        if waiting:
            train_all(waiting)
    finally:
        for folder in waiting:
            with suppress(RunError, OSError), lock_folder(folder):
                release(folder)
    return {folder: load_result(RunFolder(folder)) for folder in runs}


@contextmanager
def start_workers(jobs: int, tell: Callable[[Message], None]) -> Iterator[TrainAll]:
    """Start processes on demand; yields the function that trains runs in them."""
    context = choose_context()
    is_spawned = context.get_start_method() == "spawn"
    messages: SimpleQueue[Message] = context.SimpleQueue()
    # Where a server forks them, they have the environment of the time when it started.
    given = (messages, dict(os.environ))
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=start_worker, initargs=given)

    def train_all(runs: Mapping[Path, RunConfig]) -> None:
        if not is_spawned:
            start_server()
        with block_interrupts() if is_spawned else nullcontext():
            futures = [pool.submit(train_in_worker, config, folder) for folder, config in runs.items()]
        for future in as_completed(futures):
            future.result()

    with relay_messages(messages, tell):
        try:
            yield train_all
        except BaseException as error:
            # The runs that are under way would otherwise be waited for; they resume from their checkpoints.
            for child in multiprocessing.active_children():
                child.kill()
                child.join()
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise RunError(
                    "a training process was killed (out of memory?): the same command continues where it stopped"
                ) from error
            raise
    pool.shutdown()


def choose_context() -> BaseContext:
    """Choose how processes start: never forked from this one, whose thread pools are in an unknown state.

    On Linux a server imports the libraries once and every process is forked from it: PyTorch and Lightning take
    seconds to import. CUDA does not survive a fork if an import has looked for GPUs.
    """
    if sys.platform != "linux" or torch.cuda.is_available():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def start_server() -> None:
    """Start the process that forks others, unless it runs."""
    from multiprocessing import forkserver  # not on every system

    with block_interrupts():
        forkserver.ensure_running()


@contextmanager
def block_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to this process: one that starts here would otherwise print a traceback while it imports."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def relay_messages(messages: "SimpleQueue[Message]", tell: Callable[[Message], None]) -> Iterator[None]:
    """Relay messages from the processes to ``tell``."""
    over = threading.Event()

    def relay() -> None:
        while not (over.is_set() and messages.empty()):
            if messages.empty():
                over.wait(RELAY_INTERVAL)
            else:
                tell(messages.get())

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # A process killed in the middle of a message would keep the thread for ever.
        thread.join(timeout=1)


_messages: "SimpleQueue[Message] | None" = None


def start_worker(messages: "SimpleQueue[Message]", environment: Mapping[str, str]) -> None:
    """Prepare a process: it ends with its parent, and leaves Ctrl-C to it."""
    global _messages
    _messages = messages
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def train_in_worker(config: RunConfig, folder: Path) -> None:
    """Train one run in a process of the pool."""
    send = _messages

    def progress(done: int, total: int, metric: float | None) -> None:
        if send is not None:
            send.put((folder, done, total, metric))

    # A diverged run is a result like any other: its folder says so.
    with suppress(DivergenceError):
        train(config, folder, progress=progress)
