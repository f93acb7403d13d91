"""Ownership of a folder: it belongs to one run, which may be resumed, extended, or replaced if nothing is lost."""

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
    """Prepare the folder for this run, or for resuming it.

    A run with fewer epochs is extended. One that failed before its first checkpoint is replaced by any other.

    Args:
        folder: the folder of the run.
        config: the configuration of the run.
        overwrite: remove the files of another run first, and nothing else.

    Raises:
        ValueError: the folder holds another run or other files; or ``overwrite`` would remove
            from the current folder or one above it.
    """
    earlier, replaces = read_stored(folder), False
    if earlier is not None and overwrite:
        if Path.cwd().resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{folder} is the current folder or one above it: refusing to remove anything from it")
        replaces = True
    elif earlier is None:
        if folder.exists() and any(not is_scrap(path) for path in folder.iterdir()):
            raise UserError(f"{folder} is not empty and is not a Remanence run: choose another --output")
    elif not (changed := find_differences(earlier, config)):
        clear_parts(folder)
        return
    elif is_failed_start(folder):
        replaces = True
    elif changed == ["training"] and is_extension(earlier, config):
        extend(folder, earlier)
    else:
        raise UserError(
            f"{folder} holds a run with a different {' and '.join(changed)}: "
            "choose another --output, or pass --overwrite"
        )
    clear_parts(folder)
    with set_aside(folder) if replaces else nullcontext():
        write_text(RunFolder(folder).config, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def is_finished(folder: Path, config: RunConfig) -> bool:
    """Whether the folder has the result of this very run."""
    earlier = read_stored(folder)
    return earlier is not None and not find_differences(earlier, config) and RunFolder(folder).result.exists()


def extend(folder: Path, earlier: RunConfig) -> None:
    """Allow a run to continue beyond its last epoch.

    Raises:
        ValueError: its learning rate schedule depends on the number of epochs.
    """
    if earlier.training.lr_schedule == "cosine":
        raise UserError(
            f"the learning rate of {folder} falls to 0 at epoch {earlier.training.epochs} (lr_schedule: cosine), so "
            "more epochs would be another run: choose another --output, or pass --overwrite"
        )
    RunFolder(folder).result.unlink(missing_ok=True)


def is_scrap(path: Path) -> bool:
    """Return whether a file is only a leftover of a process: its lock, or a partially written file."""
    return path.name == LOCK or path.match(PARTS)


def read_stored(folder: Path) -> RunConfig | None:
    """Read the configuration of the run in a folder; None if there is none.

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
            f"{path} is damaged, or is not the configuration of a run: choose another --output; if it is a run, "
            f"{RunFolder(folder).remedy}"
        ) from error


def find_differences(earlier: RunConfig, config: RunConfig) -> list[str]:
    """List the parts of two configurations that differ; missing fields count as their defaults."""
    parts = ("layer", "model", "seed", "task", "training")
    return [part for part in parts if getattr(earlier, part) != getattr(config, part)]


def compute_identity(config: RunConfig) -> str:
    """Serialise everything that identifies a run, except versions and the number of epochs."""
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
    """Return whether the run failed before its first checkpoint."""
    if RunFolder(folder).last.exists() or not RunFolder(folder).result.exists():
        return False
    try:
        return json.loads(read_text(RunFolder(folder).result))["failure"] is not None
    except (ValueError, TypeError, KeyError):  # damaged: not ours to throw away
        return False


def release(folder: Path) -> None:
    """Release a folder in which the run has not produced anything yet, so that it is free for other settings."""
    if not RunFolder(folder).result.exists() and not RunFolder(folder).last.exists():
        remove(folder)


def remove(folder: Path) -> None:
    """Remove the files of a run, and folders that are empty then; other files stay."""
    for path in list_files(folder):
        discard(path)
    for path in (folder / "checkpoints", folder):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


@contextmanager
def set_aside(folder: Path) -> Iterator[None]:
    """Move the files of a run aside for another one; they are restored if that could not start."""
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
    """List all files of a run; the configuration comes last, because a folder that has one is still a run."""
    return [path for pattern in (*OURS, CONFIG) for path in folder.glob(pattern)]


def clear_parts(folder: Path) -> None:
    """Remove partially written files of killed processes from a run's folder."""
    for parts in (PARTS, f"checkpoints/{PARTS}"):
        for path in folder.glob(parts):
            discard(path)


def discard(path: Path) -> None:
    """Remove a file, or a folder with its contents."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
