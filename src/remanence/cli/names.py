"""Names of layers, tasks and studies, for the shell: at a TAB there is no time to load PyTorch."""

from collections.abc import Iterable
from importlib.metadata import entry_points

from remanence.registry import make_unknown_error
from remanence.studies import find_studies

LAYERS = (
    "alstm",
    "brc",
    "cfc",
    "cff",
    "elman",
    "eunn",
    "fast_weights",
    "fastlane",
    "gru",
    "irnn",
    "linoss",
    "lrc",
    "lru",
    "lstm",
    "ltc",
    "mgu",
    "mingru",
    "minlstm",
    "nbrc",
    "orthogonal",
    "persistent",
    "reciprocal_gated",
    "s5",
    "slstm",
    "urnn",
)
TASKS = (
    "aan",
    "adding",
    "associations",
    "characters",
    "cheetah",
    "copy",
    "denoise",
    "digits",
    "flipflop",
    "flipflop_language",
    "image",
    "indexed_recall",
    "irregular",
    "listops",
    "mnist",
    "modsum",
    "mqar",
    "parity",
    "pathfinder",
    "pathx",
    "recall",
    "retrieval",
    "text",
    "ucr",
)


def complete_layer(incomplete: str) -> list[str]:
    """List the names of layers that start like this, ours and those of installed packages."""
    return _begin(incomplete, LAYERS, "remanence.layers")


def complete_task(incomplete: str) -> list[str]:
    """List the names of tasks that start like this."""
    return _begin(incomplete, TASKS, "remanence.tasks")


def complete_study(incomplete: str) -> list[str]:
    """List the names of studies that start like this."""
    return sorted(name for name in find_studies() if name.startswith(incomplete))


def check_names(*, layers: Iterable[str] = (), tasks: Iterable[str] = ()) -> None:
    """Refuse names that nothing has, before anything is loaded; ``package.module:Name`` is not looked at.

    Raises:
        ValueError: the message has the nearest names.
    """
    for kind, names, known in (("task", tasks, complete_task("")), ("layer", layers, complete_layer(""))):
        for name in names:
            if ":" not in name and name not in known:
                raise make_unknown_error(kind, name, known)


def _begin(incomplete: str, own: tuple[str, ...], group: str) -> list[str]:
    names = {*own, *(entry.name for entry in entry_points(group=group))}
    return sorted(name for name in names if name.startswith(incomplete))
