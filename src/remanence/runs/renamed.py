"""Fields of the configuration that have a new name; the old one is accepted for one version, with a warning."""

from collections.abc import Mapping
from typing import Any

from remanence.errors import UserError
from remanence.old_names import warn_about_old_name

RENAMED = {
    "training.epoch_steps": "training.steps_per_epoch",
    "training.decay": "training.lr_schedule",
    "training.solved": "training.stop_at_metric",
    "training.keep": "training.snapshot_every",
}
"""Present names by old ones. Entries are removed in the version after the one that renamed the field."""


def current_name(field: str) -> str:
    """Translate the name of a field, such as ``training.decay``.

    Args:
        field: with the section that it belongs to.

    Returns:
        Its present name.

    Warns:
        FutureWarning: it is an old name.
    """
    if field not in RENAMED:
        return field
    warn_about_old_name(field, RENAMED[field])
    return RENAMED[field]


def update_section(section: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the names of all fields of a section.

    Args:
        section: its name, such as ``training``.
        fields: their values by name, old or present.

    Returns:
        The values by present name, in the same order.

    Raises:
        ValueError: a field is given under both of its names.
    """
    updated: dict[str, Any] = {}
    for name, value in fields.items():
        old = f"{section}.{name}"
        present = current_name(old).removeprefix(f"{section}.") if old in RENAMED else name
        if present in updated or (present != name and present in fields):
            raise UserError(f"{section}.{present} is given twice, once under its old name: drop one of the two")
        updated[present] = value
    return updated
