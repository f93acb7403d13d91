"""The tests of memory."""

from functools import partial

from remanence.registry import Registry
from remanence.tasks.aan import AAN
from remanence.tasks.adding import Adding
from remanence.tasks.any_length import AnyLength
from remanence.tasks.associations import Associations
from remanence.tasks.characters import Characters
from remanence.tasks.cheetah import Cheetah
from remanence.tasks.classification import Classification
from remanence.tasks.copying import Copy
from remanence.tasks.cycle_navigation import CycleNavigation
from remanence.tasks.denoise import Denoise
from remanence.tasks.digits import Digits
from remanence.tasks.drawn import Drawn
from remanence.tasks.dyck import Dyck
from remanence.tasks.flipflop import FlipFlop
from remanence.tasks.flipflop_language import FlipFlopLanguage
from remanence.tasks.group_word import GroupWord
from remanence.tasks.image import Image
from remanence.tasks.indexed_recall import IndexedRecall
from remanence.tasks.induction_heads import InductionHeads
from remanence.tasks.irregular import Irregular
from remanence.tasks.listops import ListOps
from remanence.tasks.long_lookback import LongLookback
from remanence.tasks.mnist import MNIST
from remanence.tasks.modular_sum import ModularSum
from remanence.tasks.mqar import MQAR
from remanence.tasks.pathfinder import Pathfinder
from remanence.tasks.recall import Recall
from remanence.tasks.reset_recall import ResetRecall
from remanence.tasks.retrieval import Retrieval
from remanence.tasks.samples import Batch, Samples, Sequences, Windows
from remanence.tasks.selective_copy import SelectiveCopy
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
    "AnyLength",
    "Associations",
    "Batch",
    "Characters",
    "Cheetah",
    "Classification",
    "Copy",
    "CycleNavigation",
    "Denoise",
    "Digits",
    "Drawn",
    "Dyck",
    "FlipFlop",
    "FlipFlopLanguage",
    "GroupWord",
    "Image",
    "IndexedRecall",
    "InductionHeads",
    "Irregular",
    "ListOps",
    "LongLookback",
    "ModularSum",
    "Pathfinder",
    "Recall",
    "ResetRecall",
    "Retrieval",
    "Samples",
    "SelectiveCopy",
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
tasks.add("group", GroupWord)
tasks.add("cycle_nav", CycleNavigation)
tasks.add("dyck", Dyck)
tasks.add("selective_copy", SelectiveCopy)
tasks.add("induction", InductionHeads)
tasks.add("long_lookback", LongLookback)
tasks.add("reset_recall", ResetRecall)
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
