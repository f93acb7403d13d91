"""The tests of memory."""

from remanence.registry import Registry
from remanence.tasks.classification import Classification
from remanence.tasks.digits import Digits
from remanence.tasks.indexed_recall import IndexedRecall
from remanence.tasks.recall import Recall
from remanence.tasks.retrieval import Retrieval
from remanence.tasks.task import SPLITS, Samples, Split, Task

__all__ = [
    "SPLITS",
    "Classification",
    "Digits",
    "IndexedRecall",
    "Recall",
    "Retrieval",
    "Samples",
    "Split",
    "Task",
    "create",
    "tasks",
]

tasks: Registry[Task] = Registry("task", "remanence.tasks")
tasks.add("retrieval", Retrieval)
tasks.add("digits", Digits)
tasks.add("recall", Recall)
tasks.add("indexed_recall", IndexedRecall)


def create(name: str, **options: object) -> Task:
    """Build a task by name.

    Args:
        name: one of ``remanence list``, or ``package.module:Class``.
        options: what the task takes.

    Raises:
        ValueError: no such task (the message names the nearest), or an option it refuses.

    Example:
        >>> create("retrieval", pairs=4, seed=0).target_size
        10
    """
    factory = tasks[name]
    try:
        return factory(**options)
    except TypeError as error:
        raise ValueError(f"task {name!r}: {error}") from error
