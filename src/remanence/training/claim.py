"""Whose a folder is: that of one run, which may go on, be extended, or be replaced where nothing is lost."""

import json
from pathlib import Path

import yaml
from pydantic import ValidationError

from remanence.files import parse_yaml, read_text, write_text
from remanence.training.config import RunConfig

CONFIG, RESULT, METRICS, LAST = "config.yaml", "result.json", "metrics.csv", "checkpoints/last.ckpt"
PART = ".*.part"
OURS = (METRICS, RESULT, "checkpoints/*.ckpt", PART, f"checkpoints/{PART}")
"""All files of a run but its configuration, which goes last: what holds it is still a run."""


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
    earlier = stored(folder)
    if earlier is not None and overwrite:
        if Path.cwd().resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{folder} is the current folder or one above it: nothing is removed from there")
        remove(folder)
    elif earlier is None:
        if folder.exists() and any(not path.match(PART) for path in folder.iterdir()):
            raise ValueError(f"{folder} holds files that are no run of ours: choose another --output")
    elif not (changed := differences(earlier, config)):
        return
    elif failed_at_once(folder):
        remove(folder)
    elif changed == ["training"] and is_extension(earlier, config):
        extend(folder, earlier)
    else:
        raise ValueError(
            f"{folder} holds a run with another {' and '.join(changed)}: choose another --output, or --overwrite it"
        )
    for path in folder.glob(PART):
        path.unlink()
    write_text(folder / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def extend(folder: Path, earlier: RunConfig) -> None:
    """Let a run go on beyond its last epoch.

    Raises:
        ValueError: its learning rate was made for so many.
    """
    if earlier.training.decay == "cosine":
        raise ValueError(
            f"the learning rate of {folder} falls to 0 at epoch {earlier.training.epochs} (decay: cosine), so more "
            "epochs make another run: choose another --output, or --overwrite it"
        )
    (folder / RESULT).unlink(missing_ok=True)


def stored(folder: Path) -> RunConfig | None:
    """The configuration of the run in a folder; None if it has none.

    Raises:
        ValueError: it is damaged.
    """
    path = folder / CONFIG
    if not path.exists():
        return None
    try:
        return RunConfig.model_validate(parse_yaml(read_text(path), path))
    except ValidationError as error:
        raise ValueError(
            f"{path} is damaged, or no configuration of a run: choose another --output; if a run lay there, "
            f"{remedy(folder)}"
        ) from error


def differences(earlier: RunConfig, config: RunConfig) -> list[str]:
    """The parts that are others; as configurations, not as text: a field that is left out has its default."""
    parts = ("layer", "model", "seed", "task", "training")
    return [part for part in parts if getattr(earlier, part) != getattr(config, part)]


def is_extension(earlier: RunConfig, config: RunConfig) -> bool:
    """Whether ``config`` differs by nothing but more epochs."""
    more = config.training.epochs > earlier.training.epochs
    return more and earlier.training.model_copy(update={"epochs": config.training.epochs}) == config.training


def failed_at_once(folder: Path) -> bool:
    """Whether the run is over and left nothing: it failed, and has not even a first checkpoint."""
    if (folder / LAST).exists() or not (folder / RESULT).exists():
        return False
    try:
        return json.loads(read_text(folder / RESULT))["failure"] is not None
    except (ValueError, TypeError, KeyError):  # damaged: not ours to throw away
        return False


def release(folder: Path) -> None:
    """Give up the claim on a folder where nothing has come of it yet, so that it is free for another setting."""
    if not (folder / RESULT).exists() and not (folder / LAST).exists():
        remove(folder)


def remove(folder: Path) -> None:
    """Remove the files of a run, and what is empty then; whatever else lies in its folder stays."""
    for pattern in OURS:
        for path in folder.glob(pattern):
            path.unlink()
    (folder / CONFIG).unlink(missing_ok=True)
    for path in (folder / "checkpoints", folder):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def remedy(folder: Path) -> str:
    """What to do with a run that cannot go on."""
    return f"remove the folder {folder}, and the same command starts this run anew"
