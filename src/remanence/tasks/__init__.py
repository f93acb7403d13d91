"""The tests of memory."""

from functools import partial

from remanence.registry import Registry
from remanence.tasks.aan import AAN
from remanence.tasks.adding import Adding
from remanence.tasks.associations import Associations
from remanence.tasks.characters import Characters
from remanence.tasks.cheetah import Cheetah
from remanence.tasks.classification import Classification
from remanence.tasks.copying import Copy
from remanence.tasks.denoise import Denoise
from remanence.tasks.digits import Digits
from remanence.tasks.drawn import Drawn
from remanence.tasks.flipflop import FlipFlop
from remanence.tasks.flipflop_language import FlipFlopLanguage
from remanence.tasks.image import Image
from remanence.tasks.indexed_recall import IndexedRecall
from remanence.tasks.irregular import Irregular
from remanence.tasks.listops import ListOps
from remanence.tasks.mnist import MNIST
from remanence.tasks.modular_sum import ModularSum
from remanence.tasks.mqar import MQAR
from remanence.tasks.pathfinder import Pathfinder
from remanence.tasks.recall import Recall
from remanence.tasks.retrieval import Retrieval
from remanence.tasks.samples import Batch, Samples, Sequences, Windows
from remanence.tasks.task import SPLITS, Split, Task
from remanence.tasks.text import Text
from remanence.tasks.ucr import UCR

__all__ = [
    "AAN",
    "MNIST",
    "MQAR",
    "SPLITS",
    "UCR",
    "Adding",
    "Associations",
    "Batch",
    "Characters",
    "Cheetah",
    "Classification",
    "Copy",
    "Denoise",
    "Digits",
    "Drawn",
    "FlipFlop",
    "FlipFlopLanguage",
    "Image",
    "IndexedRecall",
    "Irregular",
    "ListOps",
    "ModularSum",
    "Pathfinder",
    "Recall",
    "Retrieval",
    "Samples",
    "Sequences",
    "Split",
    "Task",
    "Text",
    "Windows",
    "create",
    "tasks",
]

tasks: Registry[Task] = Registry("task", "remanence.tasks", Task)
tasks.add("retrieval", Retrieval)
tasks.add("digits", Digits)
tasks.add("recall", Recall)
tasks.add("indexed_recall", IndexedRecall)
tasks.add("copy", Copy)
tasks.add("adding", Adding)
tasks.add("denoise", Denoise)
tasks.add("flipflop", FlipFlop)
tasks.add("flipflop_language", FlipFlopLanguage)
tasks.add("mqar", MQAR)
tasks.add("parity", partial(ModularSum, modulus=2))
tasks.add("modsum", ModularSum)
tasks.add("associations", Associations)
tasks.add("image", Image)
tasks.add("listops", ListOps)
tasks.add("text", Text)
tasks.add("aan", AAN)
tasks.add("pathfinder", Pathfinder)
tasks.add("pathx", partial(Pathfinder, size=128))
tasks.add("mnist", MNIST)
tasks.add("cheetah", Cheetah)
tasks.add("ucr", UCR)
tasks.add("characters", Characters)
tasks.add("irregular", Irregular)


def create(name: str, /, **options: object) -> Task:
    """Build a task by name.

    Args:
        name: one of ``remanence list``, or ``package.module:Class``.
        options: what the task takes.

    Returns:
        The task.

    Raises:
        ValueError: no such task (the message names the nearest), or an option it refuses.

    Example:
        >>> create("retrieval", pairs=4, seed=0).target_size
        10
    """
    return tasks.create(name, **options)
