"""Whose a folder is: that of one run, which may go on, be extended, or be replaced where nothing is lost."""

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from remanence.errors import UserError
from remanence.files import PART, read_text, write_text
from remanence.locks import LOCK
from remanence.runs.config import RunConfig
from remanence.runs.folder import CONFIG, METRICS, RESULT, RunFolder
from remanence.runs.renamed import update_section
from remanence.yaml_files import parse_yaml

PARTS = f".*{PART}"
OURS = (METRICS, RESULT, "checkpoints/*.ckpt", PARTS, f"checkpoints/{PARTS}")
"""All files of a run but its configuration."""


def claim(folder: Path, config: RunConfig, *, overwrite: bool = False) -> None:
    """Make the folder ready for this run, or for going on with it.

    A run with fewer epochs is extended. One that failed before its first checkpoint is replaced by any other.

    Args:
        folder: of the run.
        config: of the run.
        overwrite: remove the files of another run first, and nothing else.

    Raises:
        ValueError: another configuration, or files that are no run, are in the way; or ``overwrite`` would remove
            from the current folder or one above it.
    """
    earlier, replaces = read_stored(folder), False
    if earlier is not None and overwrite:
        if Path.cwd().resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{folder} is the current folder or one above it: nothing is removed from there")
        replaces = True
    elif earlier is None:
        if folder.exists() and any(not is_scrap(path) for path in folder.iterdir()):
            raise UserError(f"{folder} holds files that are no run of ours: choose another --output")
    elif not (changed := find_differences(earlier, config)):
        clear_parts(folder)
        return
    elif is_failed_start(folder):
        replaces = True
    elif changed == ["training"] and is_extension(earlier, config):
        extend(folder, earlier)
    else:
        raise UserError(
            f"{folder} holds a run with another {' and '.join(changed)}: choose another --output, or --overwrite it"
        )
    clear_parts(folder)
    with set_aside(folder) if replaces else nullcontext():
        write_text(RunFolder(folder).config, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def is_finished(folder: Path, config: RunConfig) -> bool:
    """Whether the folder has the result of this very run."""
    earlier = read_stored(folder)
    return earlier is not None and not find_differences(earlier, config) and RunFolder(folder).result.exists()


def extend(folder: Path, earlier: RunConfig) -> None:
    """Let a run go on beyond its last epoch.

    Raises:
        ValueError: its learning rate was made for so many.
    """
    if earlier.training.lr_schedule == "cosine":
        raise UserError(
            f"the learning rate of {folder} falls to 0 at epoch {earlier.training.epochs} (lr_schedule: cosine), so "
            "more epochs make another run: choose another --output, or --overwrite it"
        )
    RunFolder(folder).result.unlink(missing_ok=True)


def is_scrap(path: Path) -> bool:
    """Whether a file is no more than a trace of a process: its lock, or what it had half written when it was killed."""
    return path.name == LOCK or path.match(PARTS)


def read_stored(folder: Path) -> RunConfig | None:
    """The configuration of the run in a folder; None if it has none.

    Raises:
        ValueError: it is damaged.
    """
    path = RunFolder(folder).config
    if not path.exists():
        return None
    try:
        return RunConfig.model_validate(parse_yaml(read_text(path), path))
    except ValidationError as error:
        raise UserError(
            f"{path} is damaged, or no configuration of a run: choose another --output; if a run lay there, "
            f"{RunFolder(folder).remedy}"
        ) from error


def find_differences(earlier: RunConfig, config: RunConfig) -> list[str]:
    """The parts that are others; as configurations, not as text: a field that is left out has its default."""
    parts = ("layer", "model", "seed", "task", "training")
    return [part for part in parts if getattr(earlier, part) != getattr(config, part)]


def compute_identity(config: RunConfig) -> str:
    """All that makes a run what it is, whatever version it was begun with and however far it goes."""
    return config.model_dump_json(exclude={"versions": True, "training": {"epochs"}}, exclude_defaults=True)


def is_same_run(stored: Any, config: RunConfig) -> bool:
    """Whether the identity in a checkpoint, possibly of an earlier version, is that of a run."""
    own = compute_identity(config)
    if stored == own:
        return True
    try:
        content = json.loads(stored)
        content["training"] = update_section("training", content["training"])
    except (TypeError, ValueError, LookupError, AttributeError):  # damaged, or without fields that were renamed
        return False
    return content == json.loads(own)


def is_extension(earlier: RunConfig, config: RunConfig) -> bool:
    """Whether ``config`` differs by nothing but more epochs."""
    more = config.training.epochs > earlier.training.epochs
    return more and earlier.training.model_copy(update={"epochs": config.training.epochs}) == config.training


def is_failed_start(folder: Path) -> bool:
    """Whether the run is over and left nothing: it failed, and has not even a first checkpoint."""
    if RunFolder(folder).last.exists() or not RunFolder(folder).result.exists():
        return False
    try:
        return json.loads(read_text(RunFolder(folder).result))["failure"] is not None
    except (ValueError, TypeError, KeyError):  # damaged: not ours to throw away
        return False


def release(folder: Path) -> None:
    """Give up the claim on a folder where nothing has come of it yet, so that it is free for another setting."""
    if not RunFolder(folder).result.exists() and not RunFolder(folder).last.exists():
        remove(folder)


def remove(folder: Path) -> None:
    """Remove the files of a run, and what is empty then; whatever else lies in its folder stays."""
    for path in list_files(folder):
        discard(path)
    for path in (folder / "checkpoints", folder):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


@contextmanager
def set_aside(folder: Path) -> Iterator[None]:
    """Put the files of a run out of the way of another one; they come back if that could not begin."""
    aside = folder / f".{secrets.token_hex(8)}{PART}"
    moved = [(path, aside / path.relative_to(folder)) for path in list_files(folder) if not is_scrap(path)]
    try:
        for path, place in moved:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
        yield
    except BaseException:
        for path, place in moved:
            if place.exists():
                place.replace(path)
        raise
    finally:
        if aside.exists():
            discard(aside)


def list_files(folder: Path) -> list[Path]:
    """All files of a run; its configuration is the last, as what has one is still a run."""
    return [path for pattern in (*OURS, CONFIG) for path in folder.glob(pattern)]


def clear_parts(folder: Path) -> None:
    """Remove from a run's folder what a process left half written that was killed."""
    for parts in (PARTS, f"checkpoints/{PARTS}"):
        for path in folder.glob(parts):
            discard(path)


def discard(path: Path) -> None:
    """Remove a file, or a folder of ours with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
